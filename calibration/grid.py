"""The grids of numbers that quantised tensors live on: their scales, and rounding to them as ONNX defines it."""

import dataclasses
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from deepvit.runtime.artifact.manifest import Grid

Values = npt.NDArray[np.floating[Any]]
E4M3_MAX = 448.0
DTYPES: dict[Grid, np.dtype[Any]] = {  # what stores a grid's numbers
    Grid.INT8: np.dtype(np.int8),
    Grid.UINT8: np.dtype(np.uint8),
    Grid.FP8: np.dtype(ml_dtypes.float8_e4m3fn),
}
LARGEST = {Grid.INT8: 127.0, Grid.UINT8: 255.0, Grid.FP8: E4M3_MAX}  # the largest magnitude, in steps
SMALLEST_STEP = float(np.finfo(np.float16).smallest_normal)  # 2⁻¹⁴: of a tensor that is all zero


@dataclasses.dataclass(frozen=True)
class Scale:
    """How a tensor is placed on a grid: stored = x / step + zero_point, rounded and saturated."""

    grid: Grid
    step: npt.NDArray[np.float32]  # () of a tensor, or (channels,)
    zero_point: int = 0


def half_step(step: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Round steps up to FP16 numbers, so that a graph in FP16 and one in float32 quantise alike.

    A step of zero, of a tensor or channel that is all zero, becomes FP16's smallest normal number.
    """
    exact = np.asarray(step, np.float64)
    exact = np.where(exact > 0, exact, SMALLEST_STEP)
    with np.errstate(over="ignore"):  # a step beyond FP16 becomes infinite, and is refused where it is used
        rounded = exact.astype(np.float16)
    up = np.nextafter(rounded, np.float16(np.inf))
    return np.where(rounded.astype(np.float64) < exact, up, rounded).astype(np.float32)


def scale_of(low: float, high: float, grid: Grid) -> Scale:
    """Return the scale that covers [low, high]; zero is always on the grid."""
    low, high = min(low, 0.0), max(high, 0.0)
    if grid is not Grid.UINT8:
        return Scale(grid, half_step(max(-low, high) / LARGEST[grid]))
    step = half_step((high - low) / LARGEST[grid])
    return Scale(grid, step, zero_point=int(np.clip(np.rint(-low / float(step)), 0, 255)))


def weight_scale(weight: Values, grid: Grid) -> Scale:
    """Return the scale of weights (inputs, outputs): a step for each output in INT8, one for all in FP8.

    Per-channel steps gain nothing in FP8, whose grid is relative; NVIDIA's ModelOpt has one step there as well
    (`FP8_DEFAULT_CFG`). Weights are signed whatever the activations are.
    """
    if grid is Grid.FP8:
        return Scale(Grid.FP8, half_step(np.abs(weight).max() / E4M3_MAX))
    return Scale(Grid.INT8, half_step(np.abs(weight).max(axis=0) / LARGEST[Grid.INT8]))


def stored(values: Values, scale: Scale) -> npt.NDArray[Any]:
    """Return `values` as the grid stores them: ONNX's QuantizeLinear, ties to even, saturating."""
    steps = np.asarray(values, np.float32) / scale.step
    if scale.grid is Grid.FP8:
        return np.clip(steps, -E4M3_MAX, E4M3_MAX).astype(DTYPES[Grid.FP8])
    lowest = 0 if scale.grid is Grid.UINT8 else -127  # a symmetric grid leaves −128 out
    highest = LARGEST[scale.grid]
    return np.clip(np.rint(steps) + scale.zero_point, lowest, highest).astype(DTYPES[scale.grid])


def rounded(values: Values, scale: Scale) -> npt.NDArray[np.float32]:
    """Return `values` rounded to the grid: DequantizeLinear of what is stored."""
    return (stored(values, scale).astype(np.float32) - np.float32(scale.zero_point)) * scale.step
