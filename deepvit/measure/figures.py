"""Figures by matplotlib, which is loaded here alone, and only when something is drawn."""

import pathlib
from typing import TYPE_CHECKING

from deepvit.runtime.errors import InputError, MissingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120


def new_figure(inches: tuple[float, float]) -> "Figure":
    """Return an empty figure that lays itself out.

    Raises:
        MissingError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingError("drawing needs matplotlib; pip install matplotlib") from error
    return Figure(figsize=inches, layout="constrained")


def plain(text: str) -> str:
    """Return a name as a figure shows it, its dollars being no formulas."""
    return text.replace("$", r"\$")


def save_figure(figure: "Figure", path: pathlib.Path, option: str) -> None:
    """Write a figure to a PNG, SVG or PDF file.

    Raises:
        InputError: It cannot be written; `option` is what named it.
    """
    try:
        figure.savefig(path, dpi=DPI)
    except (OSError, ValueError) as error:
        raise InputError(f"{option} {path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
