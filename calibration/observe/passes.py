"""Calibration in two passes over the images: what a graph's activations are like, then the ranges they are given."""

import dataclasses
import hashlib

import numpy as np
import onnx

from deepvit.progress import Progress
from deepvit.runtime.artifact.manifest import Grid

from .. import stages
from ..policy import Product, activations_of, find_products, shifted_activations
from ..ranges import Ranges, Rescaling, TensorRange, require_fit
from ..selection import CalibrationImages
from .equalization import Equalization
from .histogram import Histogram, Method
from .rescale import choose_rescalings, rescaled_statistics
from .statistics import ChannelStatistics, ImageFeed, measure_channels, measure_histograms


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """How a graph is calibrated."""

    grid: Grid
    method: Method
    attention: bool
    equalization: Equalization


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observation:
    """What the first pass tells of a graph.

    Attributes:
        graph_sha256: Of the graph before it is rescaled; see `graph_sha256`.
        options: How it is calibrated.
        products: The products that are quantised.
        channels: Statistics of each tensor that they read, by channel.
        rescalings: By site, what activations are divided by; the second pass is of the graph that is so rescaled.
    """

    graph_sha256: str
    options: CalibrationOptions
    products: list[Product]
    channels: dict[str, ChannelStatistics]
    rescalings: dict[str, Rescaling]


def observe(model: onnx.ModelProto, options: CalibrationOptions, feed: ImageFeed, progress: Progress) -> Observation:
    """Run `model` in float32 on all images: the extremes of its activations, and the rescalings that gain.

    Raises:
        InputError: Images that changed meanwhile.
        OutOfBoundsError: An activation that is not finite.
    """
    products = find_products(model, attention=options.attention)
    tensors = list(activations_of(products))
    advance = progress(stages.extremes(len(feed.source)))
    channels = measure_channels(model, tensors, feed, advance)
    is_rescaled, is_shifted = options.equalization is not Equalization.OFF, options.equalization is Equalization.SHIFT
    rescalings: dict[str, Rescaling] = {}
    if is_rescaled:
        rescalings = choose_rescalings(model, products, channels, options.grid, is_shifted=is_shifted)
    return Observation(
        graph_sha256=graph_sha256(model),
        options=options,
        products=products,
        channels=channels,
        rescalings=rescalings,
    )


def measure_ranges(
    rescaled: onnx.ModelProto, observation: Observation, images: CalibrationImages, feed: ImageFeed, progress: Progress
) -> Ranges:
    """Run the rescaled graph on all images once more: a histogram of each activation, and from it its range.

    Args:
        rescaled: The graph that was observed, with its rescalings applied.
        observation: The first pass.
        images: Where the images come from, for the record.
        feed: The images.
        progress: Called with each step.

    Raises:
        InputError: Images that changed meanwhile.
        OutOfBoundsError: An activation that is not finite.
    """
    options, rescalings = observation.options, observation.rescalings
    is_shifted = options.equalization is Equalization.SHIFT
    shifted = shifted_activations(observation.products, options.grid) if is_shifted else frozenset[str]()
    channels = rescaled_statistics(observation.products, observation.channels, rescalings)
    attention = [name for name, statistics in channels.items() if not statistics.rows]
    if rescalings and attention:  # V is rescaled by channel and by head: measured rather than derived
        advance = progress(stages.extremes_of_attention(len(feed.source)))
        channels |= measure_channels(rescaled, attention, feed, advance)
    extremes = {name: (float(s.low.min()), float(s.high.max())) for name, s in channels.items()}
    advance = progress(stages.histograms(len(feed.source)))
    histograms = measure_histograms(rescaled, extremes, feed, advance)
    return Ranges(
        graph_sha256=observation.graph_sha256,
        grid=options.grid,
        method=options.method.name,
        images=len(feed.source),
        list_sha256=images.list_sha256,
        split=images.split,
        seed=images.seed,
        replaced=images.replaced,
        attention=options.attention,
        rescalings=rescalings,
        tensors={
            name: _range(histogram, options, is_shifted=name in shifted) for name, histogram in histograms.items()
        },
        means={name: tuple(_short(x) for x in s.mean) for name, s in channels.items() if name not in attention},
    )


def require_ranges_of(
    model: onnx.ModelProto, ranges: Ranges, grid: Grid, method: Method | None, *, attention: bool
) -> None:
    """Hold ranges against the graph and the options that they are to be used with.

    Raises:
        InputError: They were measured on another graph, or otherwise.
    """
    inputs = {initializer.name: initializer.dims[0] for initializer in model.graph.initializer if initializer.dims}
    products = find_products(model, attention=ranges.attention)
    require_fit(
        ranges,
        graph_sha256=graph_sha256(model),
        grid=grid,
        method=None if method is None else method.name,
        attention=attention,
        tensors={name: inputs.get(readers[0].weight or "") for name, readers in activations_of(products).items()},
        shiftable=shifted_activations(products, grid),
    )


def graph_sha256(model: onnx.ModelProto) -> str:
    """Return the SHA-256 by which ranges know their graph."""
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def _short(value: float) -> float:
    """Return a number that JSON writes in few digits, as exact as float32."""
    return float(f"{value:.8g}")


def _range(histogram: Histogram, options: CalibrationOptions, *, is_shifted: bool) -> TensorRange:
    """Return a tensor's range; one that is shifted fills its grid as one with a zero point would."""
    low, high = histogram.range_of(options.method, Grid.UINT8 if is_shifted else options.grid)
    return TensorRange(
        low=low,
        high=high,
        minimum=histogram.low,
        maximum=histogram.high,
        quantiles=histogram.quantiles(),
        shift=float(np.float16((low + high) / 2)) if is_shifted else 0.0,
    )
