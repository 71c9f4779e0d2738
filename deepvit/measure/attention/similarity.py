"""How alike the blocks are, as pictures: matrices on one scale of colours, and lines from block to block."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..display.figures import integer_ticks, new_figure, plain
from .analysis import AttentionAnalysis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Matrix = list[list[float]]
COLOURS = {"softmaxed": "#3b82f6", "mixed": "#f97316", "features": "#22a06b"}  # on dark and light
WIDTHS = {"softmaxed": 2.6, "mixed": 1.3, "features": 1.3}  # what is not mixed lies below, and shows


def similarity_figure(analysis: AttentionAnalysis) -> "Figure":
    """Draw the similarities between blocks as matrices and to the block before, and those between heads.

    Raises:
        MissingError: matplotlib is not installed.
    """
    figure = new_figure((9.5, 7.0))
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[1.1, 1]).ravel()
    draw_matrices(above, titled_matrices(analysis))
    left, right = below.subplots(1, 2)
    draw_neighbours(left, analysis)
    draw_heads(right, analysis)
    note = ", random weights" if analysis.random_weights else ""
    images = f"{len(analysis.images)} image{'s' if len(analysis.images) > 1 else ''}"
    figure.suptitle(f"{plain(analysis.model)}{note}: how alike its blocks are, mean over {images}", fontsize=10)
    return figure


def titled_matrices(analysis: AttentionAnalysis) -> list[tuple[str, Matrix]]:
    """Return the matrices of an analysis with what each says; that of mixed maps where there are any."""
    blocks, least = len(analysis.reattends), f"≥ {analysis.threshold:g}"
    drawn = [
        (
            f"softmaxed maps\n{analysis.similar_blocks_before} of {blocks - 1} blocks similar ({least})",
            analysis.similarity_before,
        )
    ]
    if any(analysis.reattends):
        mixed = f"mixed maps\n{analysis.similar_blocks_after} of {blocks - 1} blocks similar ({least})"
        drawn.append((mixed, analysis.similarity_after))
    return [*drawn, ("features\n", analysis.features)]


def draw_matrices(figure: "Figure", matrices: Sequence[tuple[str, Matrix]], rows: int = 1) -> None:
    """Draw similarities between blocks, (P, P) each, in `rows` rows on one scale of colours that stands beside them."""
    least = min(0.0, *(float(np.min(matrix)) for _, matrix in matrices))
    every = figure.subplots(rows, len(matrices) // rows, squeeze=False)
    for axes, (title, matrix) in zip(every.ravel(), matrices, strict=True):
        drawn = axes.imshow(np.array(matrix), vmin=least, vmax=1, cmap="viridis")
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("block")
        axes.set_ylabel("block")
    figure.colorbar(drawn, ax=every, shrink=0.8, fraction=0.05).set_label("similarity", labelpad=8)


def draw_neighbours(axes: "Axes", analysis: AttentionAnalysis) -> None:
    """Draw how alike each block is to the one before."""
    matrices = {"softmaxed": analysis.similarity_before}
    if any(analysis.reattends):
        matrices["mixed"] = analysis.similarity_after
    lines = {name: np.diagonal(np.array(matrix), offset=1).tolist() for name, matrix in matrices.items()}
    lines["features"] = np.diagonal(np.array(analysis.features), offset=1).tolist()
    axes.axhline(analysis.threshold, color="gray", linestyle="--", linewidth=0.8)
    axes.annotate("similar from here", (0.99, analysis.threshold), xycoords=("axes fraction", "data"), fontsize=7,
                  ha="right", va="bottom", color="gray")  # fmt: skip
    _draw_lines(axes, lines, 1, "similarity to the block before")


def draw_heads(axes: "Axes", analysis: AttentionAnalysis) -> None:
    """Draw how alike the heads of each block are."""
    lines = {"softmaxed": analysis.heads_before}
    if any(analysis.reattends):
        lines["mixed"] = analysis.heads_after
    _draw_lines(axes, lines, 0, "similarity between the heads of a block")


def _draw_lines(axes: "Axes", lines: dict[str, list[float]], first: int, title: str) -> None:
    for name, values in lines.items():
        blocks = range(first, first + len(values))
        axes.plot(blocks, values, marker="o", markersize=3, color=COLOURS[name], label=name, linewidth=WIDTHS[name])
    least = min(0.0, *(min(values) for values in lines.values()))
    axes.set_ylim(least - 0.05, 1.05)
    integer_ticks(axes)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("block")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
