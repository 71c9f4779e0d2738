"""How far activations are shifted and rescaled into the weights that read them, tried out on sampled rows.

On demand what a LayerNorm gives is first shifted, channel by channel, to be as far below zero as above. For a strength
α, channel j is divided by s_j = max|X_j|^α / max|W_j|^(1−α) (SmoothQuant, arXiv:2211.10438, equation 4), rounded to a
power of two. What quantises the product best is taken; nothing where nothing is better.
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from deepvit.runtime.artifact.manifest import Grid

from ..grid import rounded, scale_of, weight_scale
from ..policy import Product
from ..ranges import Rescaling
from .statistics import ChannelStatistics

SITES = {"attn.qkv": "norm1", "attn.proj": "attn.v", "mlp.fc1": "norm2"}  # what a linear's input can be rescaled by
NORMS = ("norm1", "norm2")  # those that can be shifted as well
ATTENTION_SITES = {"attn.qk": "attn.qk", "attn.av": "attn.heads"}
STRENGTHS = (0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
GAIN = 0.95  # a rescaling has to take at least a twentieth of the error away
MAX_EXPONENT = 20
SHIFT_DIGITS = 3  # more would only lengthen ranges.json
TINY = 1e-8
Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Migration:
    """How a tensor is changed: channel j has shifts[j] subtracted and is then divided by 2**exponents[j].

    The strength is None where every exponent is 0.
    """

    strength: float | None
    exponents: npt.NDArray[np.int64]
    shifts: npt.NDArray[np.float64]

    def of(self, values: npt.NDArray[np.floating[Any]]) -> Array:
        """Return what `values` (…, channels) become."""
        return ((values - self.shifts) / np.exp2(self.exponents)).astype(np.float32)


def choose_rescalings(
    model: onnx.ModelProto,
    products: list[Product],
    channels: dict[str, ChannelStatistics],
    grid: Grid,
    *,
    is_shifted: bool,
) -> dict[str, Rescaling]:
    """Choose the rescaling of every site that gains by one, and where `is_shifted` the shifts of what norms give."""
    weights = {initializer.name: initializer for initializer in model.graph.initializer}
    normed = {node.name.partition("/")[0] for node in model.graph.node}  # its heads are normalised: nothing moves past
    by_unit: dict[str, list[Product]] = {}
    for product in products:
        by_unit.setdefault(product.unit, []).append(product)
    rescalings = {}
    for unit, members in by_unit.items():
        block, kind = unit.split(".", 2)[1:]
        if kind in SITES:
            site = SITES[kind]
            has_norm = f"blocks.{block}.attn.head_norm" in normed
            is_shiftable = is_shifted and site in NORMS and _can_shift(members, is_normed=has_norm)
            rescaling = _migration(weights, members, channels, grid, is_shiftable=is_shiftable)
        elif kind in ATTENTION_SITES:
            is_mixed = f"blocks.{block}.attn.mix_weight" in weights and f"blocks.{block}.attn.head_norm" not in normed
            rescaling = _levelling(members[0], channels) if kind == "attn.qk" or is_mixed else None
            site = ATTENTION_SITES[kind]
        else:
            continue  # fc2 reads GELU, which nothing can be moved through
        if rescaling is not None:
            rescalings[f"blocks.{block}.{site}"] = rescaling
    return rescalings


def _migration(
    weights: dict[str, onnx.TensorProto],
    members: list[Product],
    channels: dict[str, ChannelStatistics],
    grid: Grid,
    *,
    is_shiftable: bool,
) -> Rescaling | None:
    # The widest tensor of the unit: where q alone reads a slice, k and v read the whole.
    statistics = channels[max((member.activations[0] for member in members), key=lambda name: channels[name].count)]
    weight = np.concatenate([numpy_helper.to_array(weights[member.weight or ""]) for member in members], axis=1)
    shifts = _middles(statistics) if is_shiftable else np.zeros(len(statistics.low))
    migration = choose_migration(np.stack(statistics.rows), statistics.low, statistics.high, weight, grid, shifts)
    if migration is None:
        return None
    return Rescaling(
        strength=migration.strength,
        exponents=tuple(int(e) for e in migration.exponents),
        shifts=tuple(migration.shifts.tolist()) if migration.shifts.any() else (),
    )


def _can_shift(members: list[Product], *, is_normed: bool) -> bool:
    """Return whether what a shift adds has a place: a bias, or one that was folded away and can be again."""
    return all(
        member.bias is not None
        or member.node.endswith(".k/MatMul")
        or (member.node.endswith(".v/MatMul") and not is_normed)
        for member in members
    )


def _middles(statistics: ChannelStatistics) -> npt.NDArray[np.float64]:
    """Return the middle of each channel's range, in few digits."""
    middles = (statistics.low.astype(np.float64) + statistics.high) / 2
    return np.array([float(f"{middle:.{SHIFT_DIGITS}g}") for middle in middles])


def _levelling(product: Product, channels: dict[str, ChannelStatistics]) -> Rescaling | None:
    left, right = (channels[name].amax for name in product.activations)
    exponents = level_pairs(left, right) if product.unit.endswith(".qk") else level_heads(left)
    return Rescaling(strength=None, exponents=tuple(int(e) for e in exponents)) if exponents.any() else None


def rescaled_statistics(
    products: list[Product], channels: dict[str, ChannelStatistics], rescalings: dict[str, Rescaling]
) -> dict[str, ChannelStatistics]:
    """Return what the statistics of the linears' inputs are after the rescalings: shifted, divided by powers of two."""
    changed = dict(channels)
    for product in products:
        block, kind = product.unit.split(".", 2)[1:]
        rescaling = rescalings.get(f"blocks.{block}.{SITES[kind]}") if kind in SITES else None
        if rescaling is not None:
            name = product.activations[0]
            statistics = channels[name]
            exponents = np.array(rescaling.exponents)
            shifts = np.array(rescaling.shifts or np.zeros(len(exponents)))
            migration = Migration(rescaling.strength, exponents, shifts)
            changed[name] = dataclasses.replace(
                statistics,
                low=migration.of(statistics.low),
                high=migration.of(statistics.high),
                total=(statistics.total - statistics.count * shifts) / np.exp2(exponents),
            )
    return changed


def choose_migration(
    rows: Array, low: Array, high: Array, weight: Array, grid: Grid, shifts: npt.NDArray[np.float64]
) -> Migration | None:
    """Return the migration that leaves least error in rows·weight, or None where the error hardly falls.

    Args:
        rows: Sampled inputs of the linear, (rows, channels).
        low: The least value of each channel over all images, (channels,).
        high: The largest.
        weight: (channels, outputs); of all linears that read the tensor, side by side.
        grid: Of the activations.
        shifts: What is subtracted from each channel first, (channels,).
    """
    rest = np.zeros(len(low), np.int64)
    least, best = GAIN * _error(Migration(None, rest, np.zeros(len(low))), rows, low, high, weight, grid), None
    shifted = Migration(None, rest, shifts)
    amax, weight_amax = np.maximum(-shifted.of(low), shifted.of(high)), np.abs(weight).max(axis=1)
    tried = [Migration(strength, _exponents(amax, weight_amax, strength), shifts) for strength in STRENGTHS]
    for migration in (shifted, *(each for each in tried if each.exponents.any())):
        error = _error(migration, rows, low, high, weight, grid)
        if error < least:
            least, best = error, migration
    return best


def _error(migration: Migration, rows: Array, low: Array, high: Array, weight: Array, grid: Grid) -> float:
    """Return the squared error of the quantised product, its range the largest ever seen."""
    rows, low, high = (migration.of(values) for values in (rows, low, high))
    weight = weight * np.exp2(migration.exponents).astype(np.float32)[:, None]
    activations = rounded(rows, scale_of(float(low.min()), float(high.max()), grid))
    product = activations @ rounded(weight, weight_scale(weight, grid))
    return float(((product - rows @ weight).astype(np.float64) ** 2).sum())


def _exponents(amax: Array, weight_amax: Array, strength: float) -> npt.NDArray[np.int64]:
    """Return log₂ s, centred so that magnitudes stay where they were; 0 for channels that are always zero."""
    alive = (amax > TINY) & (weight_amax > TINY)
    logs = strength * np.log2(np.maximum(amax, TINY)) - (1 - strength) * np.log2(np.maximum(weight_amax, TINY))
    if not alive.any():
        return np.zeros(len(amax), np.int64)
    centred = np.where(alive, logs - np.median(logs[alive]), 0.0)
    return np.clip(np.rint(centred), -MAX_EXPONENT, MAX_EXPONENT).astype(np.int64)


def level_heads(amax: Array) -> npt.NDArray[np.int64]:
    """Return the exponents that bring every head's largest magnitude close to the geometric mean of all heads."""
    logs = np.log2(np.maximum(amax, TINY))
    return np.clip(np.rint(logs - logs.mean()), -MAX_EXPONENT, MAX_EXPONENT).astype(np.int64)


def level_pairs(left: Array, right: Array) -> npt.NDArray[np.int64]:
    """Return the exponents that give both sides of a product, head by head, the same largest magnitude."""
    logs = np.log2(np.maximum(left, TINY)) - np.log2(np.maximum(right, TINY))
    return np.clip(np.rint(logs / 2), -MAX_EXPONENT, MAX_EXPONENT).astype(np.int64)
