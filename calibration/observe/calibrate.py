"""Calibration: a graph and images → ranges, and the rescaled graph that they belong to."""

import dataclasses
import enum
import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from ..grid import Grid
from ..images import CalibrationImages
from ..policy import Product, activations_of, find_products
from ..ranges import Ranges, Rescaling, TensorRange
from .histogram import Histogram, Method
from .rescale import choose_migration, level_heads, level_pairs
from .statistics import ChannelStatistics, ImageFeed, measure_channels, measure_histograms

Steps = Callable[[str], Callable[[int, int], None]]  # called with what begins; gives what to call with images done
# Applies rescalings to the graph's weights, and proves that nothing changed.
Rescale = Callable[[Mapping[str, Rescaling]], onnx.ModelProto]
SITES = {"attn.qkv": "norm1", "attn.proj": "attn.v", "mlp.fc1": "norm2"}  # what a linear's input can be rescaled by
ATTENTION_SITES = {"attn.qk": "attn.qk", "attn.av": "attn.heads"}
# What kept the logits closest on the trained models: benchmarks/results/quantization_digits.json.
DEFAULT_METHODS = {Grid.INT8: Method("mse"), Grid.UINT8: Method("mse"), Grid.FP8: Method("max")}


class Equalization(enum.Enum):
    """Whether activations are rescaled into weights before the ranges are taken."""

    ON = "on"
    OFF = "off"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """How a graph is calibrated."""

    grid: Grid
    method: Method
    attention: bool = False
    equalization: Equalization = Equalization.ON


def calibrate(
    model: onnx.ModelProto,
    options: CalibrationOptions,
    images: CalibrationImages,
    feed: ImageFeed,
    rescale: Rescale,
    steps: Steps,
) -> tuple[Ranges, onnx.ModelProto]:
    """Measure `model` in float32 on `images`, which `feed` decodes, in two passes.

    Returns:
        The ranges, and the rescaled graph on which they hold.

    Raises:
        InputError: Images that changed meanwhile.
        OutOfBoundsError: An activation that is not finite, or a rescaling that changed the answer.
    """
    products = find_products(model, attention=options.attention)
    tensors = activations_of(products)
    count = len(feed.source)
    channels = measure_channels(model, list(tensors), feed, steps(f"calibrating on {count} images: extremes"))
    rescalings = {} if options.equalization is Equalization.OFF else _choose(model, products, channels, options.grid)
    rescaled = rescale(rescalings) if rescalings else model
    changed = _rescaled_statistics(products, channels, rescalings)
    attention = [name for name, statistics in channels.items() if not statistics.rows]
    if rescalings and attention:  # V is rescaled by channel and by head: measured rather than derived
        step = steps(f"calibrating on {count} images: extremes of attention")
        changed |= measure_channels(rescaled, attention, feed, step)
    extremes = {name: (float(s.low.min()), float(s.high.max())) for name, s in changed.items()}
    histograms = measure_histograms(rescaled, extremes, feed, steps(f"calibrating on {count} images: histograms"))
    ranges = Ranges(
        graph_sha256=graph_sha256(model),
        grid=options.grid,
        method=options.method.name,
        images=count,
        list_sha256=images.list_sha256,
        split=images.split,
        seed=images.seed,
        replaced=images.replaced,
        attention=options.attention,
        rescalings=rescalings,
        tensors={name: _range(histogram, options) for name, histogram in histograms.items()},
        means={name: tuple(_short(x) for x in changed[name].mean) for name in channels if name not in attention},
    )
    return ranges, rescaled


def graph_sha256(model: onnx.ModelProto) -> str:
    """Return the SHA-256 by which ranges know their graph."""
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def _short(value: float) -> float:
    """Return a number that JSON writes in few digits, as exact as float32."""
    return float(f"{value:.8g}")


def _range(histogram: Histogram, options: CalibrationOptions) -> TensorRange:
    low, high = histogram.range_of(options.method, options.grid)
    return TensorRange(
        low=low, high=high, minimum=histogram.low, maximum=histogram.high, quantiles=histogram.quantiles()
    )


def _choose(
    model: onnx.ModelProto, products: list[Product], channels: dict[str, ChannelStatistics], grid: Grid
) -> dict[str, Rescaling]:
    """Choose the rescaling of every site that gains by one."""
    weights = {initializer.name: initializer for initializer in model.graph.initializer}
    by_unit: dict[str, list[Product]] = {}
    for product in products:
        by_unit.setdefault(product.unit, []).append(product)
    found = {}
    for unit, members in by_unit.items():
        block, kind = unit.split(".", 2)[1:]
        if kind in SITES:
            rescaling = _migration(weights, members, channels, grid)
            site = SITES[kind]
        elif kind in ATTENTION_SITES:
            is_mixed = f"blocks.{block}.attn.mix_weight" in weights
            rescaling = _levelling(members[0], channels) if kind == "attn.qk" or is_mixed else None
            site = ATTENTION_SITES[kind]
        else:
            continue  # fc2 reads GELU, which nothing can be moved through
        if rescaling is not None:
            found[f"blocks.{block}.{site}"] = rescaling
    return found


def _migration(
    weights: dict[str, onnx.TensorProto],
    members: list[Product],
    channels: dict[str, ChannelStatistics],
    grid: Grid,
) -> Rescaling | None:
    # The widest tensor of the unit: where q alone reads a slice, k and v read the whole.
    seen = channels[max((member.activations[0] for member in members), key=lambda name: channels[name].count)]
    weight = np.concatenate([numpy_helper.to_array(weights[member.weight or ""]) for member in members], axis=1)
    migration = choose_migration(np.stack(seen.rows), seen.low, seen.high, weight, grid)
    if migration is None:
        return None
    return Rescaling(strength=migration.strength, exponents=tuple(int(e) for e in migration.exponents))


def _levelling(product: Product, channels: dict[str, ChannelStatistics]) -> Rescaling | None:
    left, right = (channels[name].amax for name in product.activations)
    exponents = level_pairs(left, right) if product.unit.endswith(".qk") else level_heads(left)
    return Rescaling(strength=None, exponents=tuple(int(e) for e in exponents)) if exponents.any() else None


def _rescaled_statistics(
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
            seen = channels[name]
            changed[name] = dataclasses.replace(
                seen,
                low=(seen.low / factors).astype(np.float32),
                high=(seen.high / factors).astype(np.float32),
                total=seen.total / factors,
            )
    return changed
