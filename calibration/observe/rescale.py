"""How far activations are rescaled into the weights that read them, tried out on sampled rows.

For a strength α, channel j is divided by s_j = max|X_j|^α / max|W_j|^(1−α) (SmoothQuant, arXiv:2211.10438, equation 4),
rounded to a power of two. The α that quantises the product best is taken; none where nothing is better.
"""

import dataclasses

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from deepvit.runtime.manifest import Grid

from ..grid import rounded, scale_of, weight_scale
from ..policy import Product
from ..ranges import Rescaling
from .statistics import ChannelStatistics

SITES = {"attn.qkv": "norm1", "attn.proj": "attn.v", "mlp.fc1": "norm2"}  # what a linear's input can be rescaled by
ATTENTION_SITES = {"attn.qk": "attn.qk", "attn.av": "attn.heads"}
STRENGTHS = (0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
GAIN = 0.95  # a rescaling has to take at least a twentieth of the error away
MAX_EXPONENT = 20
TINY = 1e-8
Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Migration:
    """The chosen strength and the exponents of two, one a channel; channel j is divided by 2**exponent."""

    strength: float
    exponents: npt.NDArray[np.int64]


def choose_rescalings(
    model: onnx.ModelProto, products: list[Product], channels: dict[str, ChannelStatistics], grid: Grid
) -> dict[str, Rescaling]:
    """Choose the rescaling of every site that gains by one."""
    weights = {initializer.name: initializer for initializer in model.graph.initializer}
    normed = {node.name.partition("/")[0] for node in model.graph.node}  # its heads are normalised: nothing moves past
    by_unit: dict[str, list[Product]] = {}
    for product in products:
        by_unit.setdefault(product.unit, []).append(product)
    rescalings = {}
    for unit, members in by_unit.items():
        block, kind = unit.split(".", 2)[1:]
        if kind in SITES:
            rescaling = _migration(weights, members, channels, grid)
            site = SITES[kind]
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
) -> Rescaling | None:
    # The widest tensor of the unit: where q alone reads a slice, k and v read the whole.
    statistics = channels[max((member.activations[0] for member in members), key=lambda name: channels[name].count)]
    weight = np.concatenate([numpy_helper.to_array(weights[member.weight or ""]) for member in members], axis=1)
    migration = choose_migration(np.stack(statistics.rows), statistics.low, statistics.high, weight, grid)
    if migration is None:
        return None
    return Rescaling(strength=migration.strength, exponents=tuple(int(e) for e in migration.exponents))


def _levelling(product: Product, channels: dict[str, ChannelStatistics]) -> Rescaling | None:
    left, right = (channels[name].amax for name in product.activations)
    exponents = level_pairs(left, right) if product.unit.endswith(".qk") else level_heads(left)
    return Rescaling(strength=None, exponents=tuple(int(e) for e in exponents)) if exponents.any() else None


def rescaled_statistics(
    products: list[Product], channels: dict[str, ChannelStatistics], rescalings: dict[str, Rescaling]
) -> dict[str, ChannelStatistics]:
    """Return what the statistics of the linears' inputs are after the rescalings: divided by powers of two."""
    changed = dict(channels)
    for product in products:
        block, kind = product.unit.split(".", 2)[1:]
        rescaling = rescalings.get(f"blocks.{block}.{SITES[kind]}") if kind in SITES else None
        if rescaling is not None:
            name = product.activations[0]
            factors = np.exp2(np.array(rescaling.exponents, np.float64))
            statistics = channels[name]
            changed[name] = dataclasses.replace(
                statistics,
                low=(statistics.low / factors).astype(np.float32),
                high=(statistics.high / factors).astype(np.float32),
                total=statistics.total / factors,
            )
    return changed


def choose_migration(rows: Array, low: Array, high: Array, weight: Array, grid: Grid) -> Migration | None:
    """Return the migration that leaves least error in rows·weight, or None where the error hardly falls.

    Args:
        rows: Sampled inputs of the linear, (rows, channels).
        low: The least value of each channel over all images, (channels,).
        high: The largest.
        weight: (channels, outputs); of all linears that read the tensor, side by side.
        grid: Of the activations.
    """
    exact = rows @ weight
    amax, weight_amax = np.maximum(-low, high), np.abs(weight).max(axis=1)
    best, best_error = None, GAIN * _error(rows, low, high, weight, grid, exact)
    for strength in STRENGTHS:
        exponents = _exponents(amax, weight_amax, strength)
        if not exponents.any():
            continue
        factors = np.exp2(exponents).astype(np.float32)
        error = _error(rows / factors, low / factors, high / factors, weight * factors[:, None], grid, exact)
        if error < best_error:
            best, best_error = Migration(strength, exponents), error
    return best


def _error(rows: Array, low: Array, high: Array, weight: Array, grid: Grid, exact: Array) -> float:
    """Return the squared error of the quantised product, its range the largest ever seen."""
    activations = rounded(rows, scale_of(float(low.min()), float(high.max()), grid))
    product = activations @ rounded(weight, weight_scale(weight, grid))
    return float(((product - exact).astype(np.float64) ** 2).sum())


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
