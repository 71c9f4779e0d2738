"""Figures by matplotlib, which is loaded here alone, and only when something is drawn."""

import pathlib
from typing import TYPE_CHECKING

from deepvit.runtime.errors import InputError, needed_for
from deepvit.runtime.files import replaced, write_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120


def new_figure(inches: tuple[float, float]) -> "Figure":
    """Return an empty figure that lays itself out.

    Raises:
        MissingError: matplotlib is not installed.
    """
    with needed_for("drawing"):
        from matplotlib.figure import Figure
    return Figure(figsize=inches, layout="constrained")


def plain(text: str) -> str:
    """Return a name as a figure shows it, its dollars being no formulas."""
    return text.replace("$", r"\$")


def save_figure(figure: "Figure", path: pathlib.Path, option: str) -> None:
    """Write a figure to a PNG, SVG or PDF file, whole or not at all.

    Raises:
        InputError: It cannot be written; `option` is what named it.
        MissingError: The disk is full.
    """
    try:
        with replaced(path) as staged:
            figure.savefig(staged, dpi=DPI, format=path.suffix.removeprefix(".") or "png")
    except OSError as error:
        raise write_error(path, option, error) from error
    except ValueError as error:
        raise InputError(f"{option} {path} cannot be written: {error}") from error
