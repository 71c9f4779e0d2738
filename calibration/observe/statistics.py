"""Streaming statistics of a graph's activations: a pass for the extremes, a pass for the histograms.

Memory does not grow with the number of images: of each tensor are kept its extremes and sums for each channel, a fixed
number of sampled rows, and one histogram.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from deepvit.images.decode import decode_images
from deepvit.images.samples import LARGE_IMAGE
from deepvit.images.sources import ImageSource
from deepvit.progress import Advance
from deepvit.runtime.errors import InputError, OutOfBoundsError
from deepvit.runtime.ort.graph import OnnxGraph
from deepvit.runtime.preprocess import Preprocessing, model_input
from deepvit.runtime.session.tensors import Images, padded_batch, split_batches

from ..padded_tokens import real_tokens
from .histogram import Histogram

Array = npt.NDArray[np.float32]
SAMPLED_ROWS = 256  # of each tensor, spread over the images: what migration strengths are tried on


@dataclasses.dataclass(kw_only=True)
class ChannelStatistics:
    """One tensor (B, …, channels), or a tensor of attention (B, heads, …, …), whose channels are its heads."""

    low: Array  # (channels,)
    high: Array  # (channels,)
    total: npt.NDArray[np.float64]  # (channels,), the sum of all values
    count: int  # values for each channel
    rows: list[Array]  # sampled rows (channels,); none of attention

    @property
    def amax(self) -> Array:
        """The largest magnitude of each channel."""
        return np.maximum(-self.low, self.high)

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        return self.total / self.count


@dataclasses.dataclass(frozen=True)
class ImageFeed:
    """Images as a graph takes them, in batches."""

    source: ImageSource
    preprocessing: Preprocessing
    channels: int

    @property
    def batch_size(self) -> int:
        """Small, since every probed activation of a batch is held at once."""
        return 4 if self.preprocessing.crop <= LARGE_IMAGE else 2

    def batches(self) -> Iterator[Images]:
        """Yield every image once.

        Raises:
            InputError: An image that could be decoded when it was chosen no longer can.
        """
        decoded = decode_images(self.source, [self.preprocessing])
        while batch := list(itertools.islice(decoded, self.batch_size)):
            crops = []
            for item in batch:
                if item.crop is None:
                    name = self.source.name(item.index)
                    raise InputError(f"calibration image {name} changed while it was used: {item.error}")
                crops.append(item.crop)
            yield model_input(np.stack(crops), self.preprocessing, self.channels)


def measure_channels(
    model: onnx.ModelProto, tensors: list[str], feed: ImageFeed, progress: Advance
) -> dict[str, ChannelStatistics]:
    """Measure extremes, sums and sampled rows of `tensors` over all images, channel by channel.

    Raises:
        OutOfBoundsError: An activation that is not finite, with its tensor.
    """
    statistics: dict[str, ChannelStatistics] = {}
    for done, name, values in _activations(model, tensors, feed, progress):
        axis = 1 if values.ndim == 4 else values.ndim - 1
        others = tuple(i for i in range(values.ndim) if i != axis)
        low, high = values.min(axis=others), values.max(axis=others)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise OutOfBoundsError(
                f"{name} is not finite on the calibration images {done + 1} to {done + len(values)}: the "
                "weights overflow"
            )
        if name not in statistics:
            channels = len(low)
            statistics[name] = ChannelStatistics(low=low, high=high, total=np.zeros(channels), count=0, rows=[])
        entry = statistics[name]
        entry.low, entry.high = np.minimum(entry.low, low), np.maximum(entry.high, high)
        entry.total += values.sum(axis=others, dtype=np.float64)
        entry.count += values.size // len(low)
        if values.ndim != 4:
            entry.rows.extend(_sampled(values, done, len(feed.source)))
    return statistics


def _sampled(values: Array, done: int, images: int) -> Iterator[Array]:
    """Yield the rows that the images of one batch contribute: SAMPLED_ROWS over all images, seeded by the image."""
    for position, image in enumerate(values):
        number = done + position
        count = (number + 1) * SAMPLED_ROWS // images - number * SAMPLED_ROWS // images
        rows = image.reshape(-1, image.shape[-1])
        for row in np.random.default_rng(number).integers(0, len(rows), count):
            yield rows[row].copy()


def measure_histograms(
    model: onnx.ModelProto, extremes: dict[str, tuple[float, float]], feed: ImageFeed, progress: Advance
) -> dict[str, Histogram]:
    """Count the values of each tensor between its `extremes`, over all images."""
    histograms = {name: Histogram(low, high) for name, (low, high) in extremes.items()}
    for _, name, values in _activations(model, list(extremes), feed, progress):
        histograms[name].add(values)
    return histograms


def _activations(
    model: onnx.ModelProto, tensors: list[str], feed: ImageFeed, progress: Advance
) -> Iterator[tuple[int, str, Array]]:
    """Yield (images done before, tensor, values) for every tensor of every batch, and check that all were consumed.

    Of tensors (B, tokens, channels) without the rows that only pad.
    """
    session, real = probed(model, tensors), real_tokens(model.graph)
    input_name, (_, (fixed, *_)) = next(iter(session.inputs.items()))
    done, total = 0, len(feed.source)
    for batch in feed.batches():
        for part in split_batches(batch, fixed if isinstance(fixed, int) else len(batch)):
            padded = padded_batch(part, fixed) if isinstance(fixed, int) else part
            results = session.run({input_name: padded})
            for name in tensors:
                values = np.asarray(results[name], np.float32)[: len(part)]
                yield done, name, values[:, :real] if values.ndim == 3 else values
            done += len(part)
        progress(done, total)
    if done != total:
        raise InputError(f"{done} calibration images were consumed, expected {total}")


def probed(model: onnx.ModelProto, tensors: list[str]) -> OnnxGraph:
    """Load `model` with `tensors` as further outputs."""
    marked = onnx.ModelProto()
    marked.CopyFrom(model)
    for name in tensors:
        marked.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return OnnxGraph(marked.SerializeToString(), name="the graph with its activations")
