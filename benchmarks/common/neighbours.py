"""How alike blocks are to the block before, as lines: in PyTorch, and squares of INT8 where it lies on them."""

from collections.abc import Iterable, Sequence
from typing import Any

from deepvit.measure.display.figures import integer_ticks, new_figure

STYLES: dict[str, dict[str, Any]] = {
    "PyTorch": {"linestyle": "-"},
    "INT8": {"linestyle": "", "marker": "s", "fillstyle": "none"},
}
Line = tuple[str, str, str, Sequence[float]]  # label, form, colour, and what is drawn, from the second block on


def neighbours_figure(lines: Iterable[Line], threshold: float, title: str) -> Any:
    """Draw the lines, and the similarity from which a block counts as similar."""
    figure = new_figure((7.0, 4.6))
    axes = figure.add_subplot()
    for label, form, colour, values in lines:
        axes.plot(range(1, len(values) + 1), values, color=colour, label=f"{label}, {form}", **STYLES[form])
    axes.axhline(threshold, color="gray", linestyle="--", linewidth=0.8, label=f"similar from {threshold}")
    axes.set_xlabel("block")
    axes.set_ylabel("similarity to the block before")
    integer_ticks(axes)
    axes.grid(alpha=0.25)
    axes.set_title(title, fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure
