"""Attention as pictures: where each block looks, laid over the image, and whole maps."""

import base64
import enum
import io
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deepvit.runtime.files import write_error
from deepvit.runtime.preprocess import Crop

from ..display.figures import new_figure, plain, save_figure
from .analysis import AttentionMaps, rollout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLOCKS_SHOWN = 8
WIDTH_IN_REPORT = 1200  # pixels
HEADS_PER_ROW = 6
SIGNED_HEAT = "coolwarm"  # blue is negative, red positive


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
    figure, grid = _grid(3 if mixes else 2, max(len(blocks), 3), title)
    top, *below = grid
    top[0].imshow(crop)
    top[0].set_title("image", fontsize=8)
    _overlay(top[1], crop, rollout(maps.before)[0, 1:], "rollout", Scale.UNSIGNED)
    if mixes:
        _overlay(top[2], crop, rollout(maps.after)[0, 1:], "rollout, mixed", Scale.UNSIGNED)
    for axes, block in zip(below[0], blocks, strict=False):
        _overlay(axes, crop, maps.before[block].mean(axis=0)[0, 1:], f"block {block}, softmaxed", Scale.UNSIGNED)
    _legend(figure, grid[:2], Scale.UNSIGNED)
    if mixes:
        for axes, block in zip(below[1], blocks, strict=False):
            if maps.reattends[block]:
                _overlay(axes, crop, maps.after[block].mean(axis=0)[0, 1:], f"block {block}, mixed", Scale.SIGNED)
            else:
                axes.set_title(f"block {block}: not mixed", fontsize=7)
        _legend(figure, grid[2:], Scale.SIGNED)
    return figure


def heads_figure(maps: AttentionMaps, crop: Crop, block: int, title: str) -> "Figure":
    """Draw where the class token looks in one block, head by head, before and after the mix.

    Raises:
        MissingError: matplotlib is not installed.
    """
    heads = maps.before.shape[1]
    columns = min(heads, HEADS_PER_ROW)
    kinds = [("softmaxed", maps.before[block], Scale.UNSIGNED)]
    if maps.reattends[block]:
        kinds.append(("mixed", maps.after[block], Scale.SIGNED))
    rows = -(-heads // columns)
    figure, grid = _grid(rows * len(kinds), max(columns, 3), title)
    for place, (name, values, scale) in enumerate(kinds):
        part = grid[place * rows : (place + 1) * rows]
        for head in range(heads):
            axes = part[head // columns, head % columns]
            _overlay(axes, crop, values[head][0, 1:], f"head {head}, {name}", scale)
        _legend(figure, part, scale)
    return figure


def mean_maps_figure(
    before: npt.NDArray[Any], after: npt.NDArray[Any], reattends: Sequence[bool], title: str
) -> "Figure":
    """Draw the whole maps of some blocks, (P, N, N) means over heads and images, as the original's script does.

    Softmaxed maps are on one scale of colours, mixed ones on another, each from the 1st to the 99th percentile.

    Raises:
        MissingError: matplotlib is not installed.
    """
    blocks = _spread(len(before))
    kinds = [("softmaxed", before, "viridis")] + ([("mixed", after, SIGNED_HEAT)] if any(reattends) else [])
    figure, grid = _grid(len(kinds), max(len(blocks), 3), title)
    for row, (name, values, colours) in zip(grid, kinds, strict=True):
        low, high = np.percentile(values[blocks], (1, 99))  # single tokens would hide all others
        if colours == SIGNED_HEAT:
            high = max(abs(low), abs(high))
            low = -high
        for axes, block in zip(row, blocks, strict=False):
            drawn = axes.imshow(values[block], cmap=colours, vmin=low, vmax=high)
            is_mixed = name == "softmaxed" or reattends[block]
            axes.set_title(f"block {block}{', ' if is_mixed else ': not '}{name}", fontsize=7)
        bar = figure.colorbar(drawn, ax=row.tolist(), extend="both", shrink=0.85, aspect=12)
        bar.ax.tick_params(labelsize=7)
    return figure


def _grid(rows: int, columns: int, title: str) -> tuple["Figure", npt.NDArray[Any]]:
    """Return a figure of square pictures without axes, (rows, columns), with room for scales at its right."""
    figure = new_figure((1.35 * columns + 1.2, 1.55 * rows + 0.4))
    figure.suptitle(plain(title), fontsize=9)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
        axes.set_box_aspect(1)
    return figure, grid


def _spread(blocks: int) -> list[int]:
    """Return the blocks that are shown, the first and the last among them."""
    count = min(blocks, BLOCKS_SHOWN)
    return sorted({round(index * (blocks - 1) / max(count - 1, 1)) for index in range(count)})


class Scale(enum.Enum):
    """The colours of what is laid over an image: of each picture from least to most, or blue, none, red."""

    UNSIGNED = ("inferno", (0.0, 1.0), ("least", "most"))
    SIGNED = (SIGNED_HEAT, (-1.0, 0.0, 1.0), ("blue:\nnegative", "0", "red:\npositive"))


def _legend(figure: "Figure", axes: npt.NDArray[Any], scale: Scale) -> None:
    """Draw the scale beside some pictures; each has its own extremes, so that it names no numbers."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colours, ticks, names = scale.value
    mappable = ScalarMappable(Normalize(ticks[0], ticks[-1]), colours)
    bar = figure.colorbar(mappable, ax=axes.ravel().tolist(), shrink=0.85, aspect=12 * len(axes), ticks=ticks)
    bar.ax.set_yticklabels(names, fontsize=7)
    bar.set_label("in each picture", fontsize=7)


def _overlay(axes: "Axes", crop: Crop, values: npt.NDArray[Any], title: str, scale: Scale) -> None:
    """Lay the values of the patches, (patches,), over the image, (H, W, 3) uint8."""
    side = round(len(values) ** 0.5)
    height, width = crop.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    largest = float(np.abs(values).max())
    low, high = (-largest, largest) if scale is Scale.SIGNED else (float(values.min()), largest)
    axes.imshow(crop.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    axes.imshow(
        values.reshape(side, side),
        cmap=scale.value[0],
        vmin=low,
        vmax=high,
        alpha=0.6,
        extent=extent,
        interpolation="bilinear",
    )
    axes.set_title(title, fontsize=7)


def as_jpeg(path: pathlib.Path) -> str:
    """Return a picture that was written, small enough for a report, as JPEG in base64."""
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((WIDTH_IN_REPORT, WIDTH_IN_REPORT))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=85)
    return base64.b64encode(stream.getvalue()).decode()


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
