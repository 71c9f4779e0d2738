"""Attention as pictures: how alike the blocks are, and where each looks, laid over the image."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deepvit.runtime.files import write_error
from deepvit.runtime.preprocess import Crop

from ..figures import new_figure, plain, save_figure
from .analysis import AttentionAnalysis, AttentionMaps, rollout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLOCKS_SHOWN = 8
HEADS_PER_ROW = 6
HEAT, SIGNED_HEAT = "inferno", "coolwarm"


def describe_attention(analysis: AttentionAnalysis) -> Iterator[str]:
    """Yield how alike the blocks attend."""
    note = " (random weights)" if analysis.random_weights else ""
    yield f"model         {analysis.model}{note}, {analysis.runs_on}"
    blocks, mixed = len(analysis.reattends), sum(analysis.reattends)
    yield f"blocks        {blocks}, {mixed} with re-attention; means over {len(analysis.images)} images"
    for name, similar, matrix, heads in (
        ("softmaxed", analysis.similar_blocks_before, analysis.similarity_before, analysis.heads_before),
        ("mixed", analysis.similar_blocks_after, analysis.similarity_after, analysis.heads_after),
    ):
        if name == "mixed" and not mixed:
            continue
        neighbours = np.diagonal(np.array(matrix), offset=1)
        yield (
            f"{name:14s}{similar} of {blocks - 1} blocks attend like the one before (≥ {analysis.threshold:g}){note}; "
            f"similarity of neighbours {neighbours.min():.3f} to {neighbours.max():.3f}, between heads "
            f"{min(heads):.3f} to {max(heads):.3f}"
        )
    features = np.diagonal(np.array(analysis.features), offset=1)
    yield f"features      similarity of neighbours {features.min():.3f} to {features.max():.3f}{note}"


def similarity_figure(analysis: AttentionAnalysis) -> "Figure":
    """Draw the cross-layer similarities as matrices, and the similarity between heads block by block.

    Raises:
        MissingError: matplotlib is not installed.
    """
    figure = new_figure((12.5, 4.0))
    panels = [("softmaxed maps", analysis.similarity_before, analysis.similar_blocks_before)]
    if any(analysis.reattends):
        panels.append(("mixed maps", analysis.similarity_after, analysis.similar_blocks_after))
    axes = figure.subplots(1, len(panels) + 2, width_ratios=[1.25] * (len(panels) + 1) + [1.1])
    for panel, (name, matrix, similar) in zip(axes, panels, strict=False):
        draw_matrix(
            figure, panel, matrix, f"{name}: {similar} of {len(matrix) - 1} similar\n(≥ {analysis.threshold:g})"
        )
    draw_matrix(figure, axes[-2], analysis.features, "features\n")
    blocks = range(len(analysis.reattends))
    axes[-1].plot(blocks, analysis.heads_before, marker="o", markersize=3, label="softmaxed")
    if any(analysis.reattends):
        axes[-1].plot(blocks, analysis.heads_after, marker="o", markersize=3, label="mixed")
    axes[-1].set_title("similarity between heads\n", fontsize=9)
    axes[-1].set_xlabel("block")
    axes[-1].set_ylim(-1.05 if min(analysis.heads_after) < 0 else 0, 1.05)
    axes[-1].grid(alpha=0.3)
    axes[-1].legend(fontsize=8)
    note = ", random weights" if analysis.random_weights else ""
    figure.suptitle(
        f"{plain(analysis.model)}{note}: similarity between blocks, {len(analysis.images)} images", fontsize=10
    )
    return figure


def draw_matrix(figure: "Figure", axes: "Axes", matrix: list[list[float]], title: str, shrink: float = 0.75) -> None:
    """Draw similarities between blocks, (P, P), with their colours beside them, `shrink` as high as the matrix."""
    values = np.array(matrix)
    drawn = axes.imshow(values, vmin=min(0.0, float(values.min())), vmax=1, cmap="viridis")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("block")
    figure.colorbar(drawn, ax=axes, shrink=shrink)


def blocks_figure(maps: AttentionMaps, crop: Crop, title: str) -> "Figure":
    """Draw where the class token looks: its rollout, and the mean over heads of some blocks, before and after the mix.

    Args:
        maps: Of one image.
        crop: That image, (H, W, 3) uint8.
        title: What the picture is called.

    Raises:
        MissingError: matplotlib is not installed.
    """
    blocks = _spread(len(maps.before))
    mixes = any(maps.reattends)
    rows = 3 if mixes else 2
    figure = new_figure((1.35 * max(len(blocks), 3) + 0.4, 1.62 * rows + 0.4))
    figure.suptitle(plain(title), fontsize=9)
    top, *below = figure.subplots(rows, len(blocks), squeeze=False)
    for axes in top:
        axes.set_axis_off()
    top[0].imshow(crop)
    top[0].set_title("image", fontsize=8)
    _overlay(top[1], crop, rollout(maps.before)[0, 1:], "rollout")
    if mixes:
        _overlay(top[2], crop, rollout(maps.after)[0, 1:], "rollout, mixed")
    for row, values, name in zip(below, (maps.before, maps.after), ("softmaxed", "mixed"), strict=False):
        for axes, block in zip(row, blocks, strict=True):
            if name == "softmaxed" or maps.reattends[block]:
                _overlay(axes, crop, values[block].mean(axis=0)[0, 1:], f"block {block}, {name}")
            else:
                axes.set_axis_off()
                axes.set_title(f"block {block}: not mixed", fontsize=7)
    return figure


def heads_figure(maps: AttentionMaps, crop: Crop, block: int, title: str) -> "Figure":
    """Draw where the class token looks in one block, head by head, before and after the mix.

    Raises:
        MissingError: matplotlib is not installed.
    """
    heads = maps.before.shape[1]
    columns = min(heads, HEADS_PER_ROW)
    kinds = [("softmaxed", maps.before[block])] + ([("mixed", maps.after[block])] if maps.reattends[block] else [])
    rows = -(-heads // columns)
    figure = new_figure((1.35 * max(columns, 3) + 0.4, 1.62 * rows * len(kinds) + 0.4))
    figure.suptitle(plain(title), fontsize=9)
    grid = figure.subplots(rows * len(kinds), columns, squeeze=False)
    for place, (name, values) in enumerate(kinds):
        for head, axes in enumerate(grid[place * rows : (place + 1) * rows].ravel()):
            if head < heads:
                _overlay(axes, crop, values[head][0, 1:], f"head {head}, {name}")
            else:
                axes.set_axis_off()
    return figure


def mean_maps_figure(before: npt.NDArray[Any], after: npt.NDArray[Any], mixes: bool, title: str) -> "Figure":
    """Draw the whole maps of some blocks, (P, N, N) means over heads and images, as the original's script does.

    Raises:
        MissingError: matplotlib is not installed.
    """
    blocks = _spread(len(before))
    kinds = [("softmaxed", before)] + ([("mixed", after)] if mixes else [])
    figure = new_figure((1.35 * max(len(blocks), 3) + 0.4, 1.62 * len(kinds) + 0.4))
    figure.suptitle(plain(title), fontsize=9)
    for row, (name, values) in zip(figure.subplots(len(kinds), len(blocks), squeeze=False), kinds, strict=True):
        for axes, block in zip(row, blocks, strict=True):
            low, high = np.percentile(values[block], (1, 99))  # single tokens would hide all others
            axes.imshow(values[block], cmap="viridis", vmin=low, vmax=high)
            axes.set_title(f"block {block}, {name}", fontsize=7)
            axes.set_axis_off()
    return figure


def _spread(blocks: int) -> list[int]:
    """Return the blocks that are shown, the first and the last among them."""
    count = min(blocks, BLOCKS_SHOWN)
    return sorted({round(index * (blocks - 1) / max(count - 1, 1)) for index in range(count)})


def _overlay(axes: "Axes", crop: Crop, values: npt.NDArray[Any], title: str) -> None:
    """Lay the values of the patches, (patches,), over the image: from least to most; signed ones blue, none, red."""
    side = round(len(values) ** 0.5)
    height, width = crop.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    largest = float(np.abs(values).max())
    low, high = (-largest, largest) if values.min() < 0 else (float(values.min()), largest)
    axes.imshow(crop.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    axes.imshow(
        values.reshape(side, side),
        cmap=SIGNED_HEAT if low < 0 else HEAT,
        vmin=low,
        vmax=high,
        alpha=0.6,
        extent=extent,
        interpolation="bilinear",
    )
    axes.set_title(title, fontsize=7)
    axes.set_axis_off()


def write_figures(folder: pathlib.Path, figures: Sequence[tuple[str, "Figure"]]) -> list[pathlib.Path]:
    """Write figures as PNG files of these names into a folder, made if missing.

    Raises:
        InputError: They cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, "‹output›", error) from error
    paths = []
    for name, figure in figures:
        paths.append(folder / f"{name}.png")
        save_figure(figure, paths[-1], "‹output›")
    return paths
