"""Figures by matplotlib, which is loaded here alone, and only when something is drawn."""

import math
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepvit.calibration.budget.result import Sensitivity
from deepvit.runtime.errors import InputError, needed_for
from deepvit.runtime.files import replaced, write_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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


def integer_ticks(axes: "Axes") -> None:
    """Name whole blocks only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_sqnr(axes: "Axes", result: Sensitivity, field: str, colours: Sequence[str] | None = None) -> None:
    """Draw one SQNR of every linear over the blocks, a line for each of a block's linears."""
    rows = {row.unit: row for row in result.units}
    blocks = sorted({int(unit.split(".")[1]) for unit in rows})
    for place, kind in enumerate(sorted({unit.split(".", 2)[2] for unit in rows})):
        units = [rows.get(f"blocks.{block}.{kind}") for block in blocks]
        values = [math.nan if unit is None else getattr(unit, field) for unit in units]
        colour = None if colours is None else colours[place % len(colours)]
        axes.plot(blocks, np.array(values, np.float64), marker="o", markersize=4, color=colour, label=kind)
    integer_ticks(axes)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
