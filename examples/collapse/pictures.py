"""The collapse of attention as two pictures."""

import dataclasses
import pathlib

import numpy as np

from deepvit.measure.attention.analysis import AttentionAnalysis
from deepvit.measure.attention.similarity import draw_matrices
from deepvit.measure.figures import integer_ticks, new_figure, save_figure

STYLES: dict[str, dict[str, str]] = {  # the INT8 graph lies where PyTorch does: squares on the lines
    "PyTorch": {"linestyle": "-"},
    "INT8": {"linestyle": "", "marker": "s", "fillstyle": "none"},
}


@dataclasses.dataclass(frozen=True)
class Seen:
    """One network in one form, "PyTorch" or "INT8", its top-1 on the held-out images, a fraction, and its attention."""

    form: str
    top1: float
    analysis: AttentionAnalysis

    def curves(self) -> dict[str, tuple[list[list[float]], int]]:
        """Return the similarities of its maps, (P, P), and how many blocks are similar, by what the maps are."""
        found = self.analysis
        if not any(found.reattends):
            return {"plain ViT": (found.similarity_before, found.similar_blocks_before)}
        return {
            "DeepViT, softmaxed": (found.similarity_before, found.similar_blocks_before),
            "DeepViT, mixed": (found.similarity_after, found.similar_blocks_after),
        }


COLOURS = {"plain ViT": "#3b82f6", "DeepViT, softmaxed": "#22a06b", "DeepViT, mixed": "#f97316"}


def draw_collapse(seen: list[Seen], path: pathlib.Path) -> None:
    """Draw how alike each block's maps are to those of the block before, a line for each network, form and kind."""
    figure = new_figure((7.0, 4.6))
    axes = figure.add_subplot()
    for each in seen:
        for label, (matrix, _) in each.curves().items():
            values = np.diagonal(np.array(matrix), offset=1)
            axes.plot(
                range(1, len(values) + 1),
                values,
                color=COLOURS[label],
                label=f"{label}, {each.form}",
                **STYLES[each.form],
            )
    first = seen[0].analysis
    axes.axhline(first.threshold, color="gray", linestyle="--", linewidth=0.8, label=f"similar from {first.threshold}")
    axes.set_xlabel("block")
    axes.set_ylabel("similarity to the block before")
    integer_ticks(axes)
    axes.grid(alpha=0.25)
    axes.set_title(f"Attention maps of networks of {len(first.reattends)} blocks, trained on glyphs", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    save_figure(figure, path, "--output")


def draw_collapse_matrices(seen: list[Seen], path: pathlib.Path) -> None:
    """Draw how alike the maps of every two blocks are, a row for each form."""
    panels = [
        (f"{label}, {form}\n{similar} of {len(matrix) - 1} blocks similar", matrix)
        for form in STYLES
        for each in seen
        if each.form == form
        for label, (matrix, similar) in each.curves().items()
    ]
    figure = new_figure((8.5, 5.6))
    draw_matrices(figure, panels, rows=len(STYLES))
    save_figure(figure, path, "--output")


def draw_depths(seen: dict[int, list[Seen]], path: pathlib.Path) -> None:
    """Draw the share of similar blocks and the accuracy of the networks against their depth, in PyTorch."""
    figure = new_figure((7.0, 3.6))
    similar, accuracy = figure.subplots(1, 2)
    curves: dict[str, list[tuple[int, float]]] = {}
    top1: dict[str, list[tuple[int, float]]] = {}
    for depth, found in sorted(seen.items()):
        for each in (each for each in found if each.form == "PyTorch"):
            for label, (_, count) in each.curves().items():
                curves.setdefault(label, []).append((depth, 100 * count / (depth - 1)))
            top1.setdefault(label, []).append((depth, 100 * each.top1))
    for axes, lines, title in ((similar, curves, "similar blocks, %"), (accuracy, top1, "held-out top-1, %")):
        for label, points in lines.items():
            name = label.partition(",")[0] if axes is accuracy else label
            axes.plot(*zip(*points, strict=True), marker="o", color=COLOURS[label], label=name)
        axes.set_xticks(sorted(seen))
        axes.set_xlabel("blocks")
        axes.set_ylabel(title)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    save_figure(figure, path, "--output")
