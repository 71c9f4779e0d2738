"""The collapse of attention as two pictures."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from benchmarks.common.neighbours import STYLES, neighbours_figure
from deepvit.measure.attention.analysis import AttentionAnalysis
from deepvit.measure.attention.similarity import draw_matrices
from deepvit.measure.display.figures import new_figure, save_figure
from deepvit.metrics.paired import proportion_interval


@dataclasses.dataclass(frozen=True)
class Seen:
    """One network in one form, "PyTorch" or "INT8": its top-1, a fraction of so many held-out images; its attention."""

    form: str
    top1: float
    scored: int
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
    lines = [
        (label, each.form, COLOURS[label], np.diagonal(np.array(matrix), offset=1).tolist())
        for each in seen
        for label, (matrix, _) in each.curves().items()
    ]
    first = seen[0].analysis
    title = f"Attention maps of networks of {len(first.reattends)} blocks, trained on glyphs"
    save_figure(neighbours_figure(lines, first.threshold, title), path, "--output")


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


def draw_depths(networks: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Draw similar blocks and accuracy against depth, of the networks in PyTorch as `figures_of` has them."""
    figure = new_figure((7.0, 3.6))
    similar, accuracy = figure.subplots(1, 2)
    found = sorted((each for each in networks if each["form"] == "PyTorch"), key=lambda each: each["blocks"])
    plain = [each for each in found if "after_the_mix" not in each["similar_blocks"]]
    deep = [each for each in found if each not in plain]
    for label, of, kind, marker in (
        ("plain ViT", plain, "before_the_mix", "o"),
        ("DeepViT, softmaxed", deep, "before_the_mix", "o"),
        ("DeepViT, mixed", deep, "after_the_mix", "x"),
    ):
        shares = [100 * each["similar_blocks"][kind] / (each["blocks"] - 1) for each in of]
        similar.plot([each["blocks"] for each in of], shares, marker=marker, color=COLOURS[label], label=label)
    for label, of, aside in (("plain ViT", plain, -0.1), ("DeepViT, mixed", deep, 0.1)):
        intervals = [proportion_interval(each["top1"] * each["scored"], each["scored"]) for each in of]
        top1 = np.array([each["top1"] for each in of])
        reach = np.abs(np.array([(each.low, each.high) for each in intervals]).T - top1)
        blocks = [each["blocks"] + aside for each in of]
        name = label.partition(",")[0]
        accuracy.errorbar(blocks, 100 * top1, 100 * reach, marker="o", capsize=3, color=COLOURS[label], label=name)
    for axes, title in ((similar, "similar blocks, %"), (accuracy, "held-out top-1, %, and 95% interval")):
        axes.set_xticks(sorted({each["blocks"] for each in found}))
        axes.set_xlabel("blocks")
        axes.set_ylabel(title)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    save_figure(figure, path, "--output")
