"""Float32 graph + images → ranges, and the rescaled graph that they hold on, proved to be the same function."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx

from deepvit.calibration.images import CalibrationImages
from deepvit.calibration.observe.calibrate import CalibrationOptions, calibrate, graph_sha256
from deepvit.calibration.observe.statistics import ImageFeed
from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.policy import activations_of, find_products
from deepvit.calibration.ranges import Ranges, Rescaling, read_ranges, require_fit
from deepvit.images.samples import float64_images
from deepvit.metrics.bounds import FOLD_BOUND, prove
from deepvit.model.load import LoadedModel
from deepvit.model.network import DeepViT
from deepvit.model.rewrites.equalize import equalize
from deepvit.progress import Progress
from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import ParityStage

from ..graph.float32 import Float32Graph
from ..graph.proof import torch_logits
from ..graph.trace import with_weights
from ..options import GraphOptions
from .images import calibration_images


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibratedGraph:
    """A float32 graph, rescaled, with its ranges; the images are None where a ranges file stood for them."""

    ranges: Ranges
    model: onnx.ModelProto
    stages: tuple[ParityStage, ...]
    images: CalibrationImages | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationInput:
    """What a calibration works on: images, or a ranges file, whose images may be known as well."""

    images: CalibrationImages | None
    ranges: Ranges | None


def calibration_input(loaded: LoadedModel, wanted: QuantizationOptions, dataset: str | None) -> CalibrationInput:
    """Choose and decode the images, or read the ranges file: what can be refused before a graph is exported.

    Raises:
        InputError: Images or a file that cannot be used.
    """
    ranges = None if wanted.ranges is None else read_ranges(wanted.ranges)
    images = None
    if ranges is None or dataset is not None:
        images = calibration_images(
            dataset, wanted, loaded.preprocessing(), is_random=loaded.weights.source == "random"
        )
    return CalibrationInput(images=images, ranges=ranges)


def calibrate_graph(
    source: Float32Graph, graph: GraphOptions, wanted: QuantizationOptions, given: CalibrationInput, progress: Progress
) -> CalibratedGraph:
    """Measure the ranges of `source`, or take those that are given.

    Raises:
        InputError: The ranges are of another graph, or the images changed meanwhile.
        OutOfBoundsError: An activation is not finite, or rescaling changed the answer.
    """
    assert graph.grid is not None
    stages: list[ParityStage] = []

    def rescale(rescalings: Mapping[str, Rescaling]) -> onnx.ModelProto:
        progress("rescaling, proved in float64")
        equalized = equalize(source.folded, {site: chosen.exponents for site, chosen in rescalings.items()})
        stages.append(_prove(equalized, source))
        return with_weights(source.model, source.module_of(equalized))

    ranges, images = given.ranges, given.images
    if ranges is not None:
        _require_fit(ranges, source, graph, wanted)
        try:
            model = rescale(ranges.rescalings) if ranges.rescalings else source.model
        except (ValueError, IndexError) as error:
            raise InputError(f"--ranges {wanted.ranges} has rescalings that do not fit the model: {error}") from error
        return CalibratedGraph(ranges=ranges, model=model, stages=tuple(stages), images=images)
    assert images is not None
    options = CalibrationOptions(
        grid=graph.grid,
        method=wanted.method_for(graph.grid),
        attention=wanted.attention,
        equalization=wanted.equalization,
    )
    feed = ImageFeed(images.source, source.preprocessing, source.loaded.module.in_chans)
    ranges, model = calibrate(source.model, options, images, feed, rescale, progress)
    return CalibratedGraph(ranges=ranges, model=model, stages=tuple(stages), images=images)


def _require_fit(ranges: Ranges, source: Float32Graph, graph: GraphOptions, wanted: QuantizationOptions) -> None:
    assert graph.grid is not None
    inputs = {
        initializer.name: initializer.dims[0] for initializer in source.model.graph.initializer if initializer.dims
    }
    products = find_products(source.model, attention=ranges.attention)
    require_fit(
        ranges,
        graph_sha256=graph_sha256(source.model),
        grid=graph.grid,
        method=None if wanted.method is None else wanted.method.name,
        attention=wanted.attention,
        tensors={name: inputs.get(readers[0].weight or "") for name, readers in activations_of(products).items()},
    )


def _prove(equalized: DeepViT, source: Float32Graph) -> ParityStage:
    """Hold the rescaled model against the folded one in float64, as a fold is.

    Raises:
        OutOfBoundsError: It gives other logits.
    """
    wide = source.float_images[: float64_images(source.loaded.module.img_size)].astype(np.float64)
    expected = torch_logits(source.folded, wide)
    return prove("rescaled-float64", "folded-float64", torch_logits(equalized, wide), expected, FOLD_BOUND)
