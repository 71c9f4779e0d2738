"""Float32 graph + images → ranges, and the rescaled graph that they hold on, proved to be the same function."""

import dataclasses
from collections.abc import Mapping

import onnx

from deepvit.calibration.images import CalibrationImages
from deepvit.calibration.observe.calibrate import CalibrationOptions, graph_sha256, measure_ranges, observe
from deepvit.calibration.observe.statistics import ImageFeed
from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.policy import activations_of, find_products
from deepvit.calibration.ranges import Ranges, Rescaling, require_fit
from deepvit.model.rewrites.equalize import equalize
from deepvit.progress import Progress
from deepvit.runtime.errors import InputError
from deepvit.runtime.manifest import ParityStage

from ..graph.float32 import Float32Graph
from ..graph.proof import prove_rewrite
from ..graph.trace import with_weights
from ..options import GraphOptions
from .images import CalibrationInput


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibratedGraph:
    """A float32 graph, rescaled, with its ranges; the images are None where a ranges file stood for them."""

    ranges: Ranges
    model: onnx.ModelProto
    stages: tuple[ParityStage, ...]
    images: CalibrationImages | None


def calibrate_graph(
    source: Float32Graph,
    graph: GraphOptions,
    quantization: QuantizationOptions,
    inputs: CalibrationInput,
    progress: Progress,
) -> CalibratedGraph:
    """Measure the ranges of `source`, or take those that are given.

    Raises:
        InputError: The ranges are of another graph, or the images changed meanwhile.
        OutOfBoundsError: An activation is not finite, or rescaling changed the answer.
    """
    assert graph.grid is not None
    images, ranges = inputs.images, inputs.ranges
    if ranges is not None:
        _require_fit(ranges, source, graph, quantization)
        try:
            model, stages = _rescaled(source, ranges.rescalings, progress)
        except (ValueError, IndexError) as error:
            why = f"has rescalings that do not fit the model: {error}"
            raise InputError(f"--ranges {quantization.ranges} {why}") from error
        return CalibratedGraph(ranges=ranges, model=model, stages=stages, images=images)
    assert images is not None
    options = CalibrationOptions(
        grid=graph.grid,
        method=quantization.method_for(graph.grid),
        attention=quantization.attention,
        equalization=quantization.equalization,
    )
    feed = ImageFeed(images.source, source.preprocessing, source.loaded.module.in_chans)
    observation = observe(source.model, options, feed, progress)
    model, stages = _rescaled(source, observation.rescalings, progress)
    ranges = measure_ranges(model, observation, images, feed, progress)
    return CalibratedGraph(ranges=ranges, model=model, stages=stages, images=images)


def _rescaled(
    source: Float32Graph, rescalings: Mapping[str, Rescaling], progress: Progress
) -> tuple[onnx.ModelProto, tuple[ParityStage, ...]]:
    """Return the graph of the rescaled model, and the proof that it is the same function.

    Raises:
        OutOfBoundsError: It is not.
    """
    if not rescalings:
        return source.model, ()
    progress("rescaling, proved in float64")
    equalized = equalize(source.folded, {site: rescaling.exponents for site, rescaling in rescalings.items()})
    stage = prove_rewrite("rescaled-float64", "folded-float64", equalized, source.folded, source.float_images)
    return with_weights(source.model, source.module_of(equalized)), (stage,)


def _require_fit(ranges: Ranges, source: Float32Graph, graph: GraphOptions, quantization: QuantizationOptions) -> None:
    assert graph.grid is not None
    inputs = {
        initializer.name: initializer.dims[0] for initializer in source.model.graph.initializer if initializer.dims
    }
    products = find_products(source.model, attention=ranges.attention)
    require_fit(
        ranges,
        graph_sha256=graph_sha256(source.model),
        grid=graph.grid,
        method=None if quantization.method is None else quantization.method.name,
        attention=quantization.attention,
        tensors={name: inputs.get(readers[0].weight or "") for name, readers in activations_of(products).items()},
    )
