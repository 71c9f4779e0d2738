"""Float32 graph + images → ranges, and the rescaled graph that they hold on, proved to be the same function."""

import dataclasses
from collections.abc import Mapping

import onnx

from deepvit.calibration.observe.passes import CalibrationOptions, measure_ranges, observe, require_ranges_of
from deepvit.calibration.observe.statistics import ImageFeed
from deepvit.calibration.onnxruntime_products import fuse_products
from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.quantize import quantize_graph
from deepvit.calibration.ranges import Ranges, Rescaling
from deepvit.calibration.selection import CalibrationImages
from deepvit.calibration.stages import RESCALING
from deepvit.model.rewrites.equalize import equalize
from deepvit.progress import Progress
from deepvit.runtime.artifact.manifest import Grid, ParityStage
from deepvit.runtime.errors import InputError

from ..graph.cast import in_types
from ..graph.float32 import Float32Graph, graph_module
from ..graph.onnx_file import finish
from ..graph.proof.logits import prove_rewrite
from ..graph.trace import with_weights
from ..options import ExportOptions, GraphOptions
from .plan import CalibrationInput


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibratedGraph:
    """A float32 graph, rescaled, with its ranges, or as it was with the grid that its weights alone go to.

    The images are None where a ranges file stood for them, or nothing was to be done with any.
    """

    ranges: Ranges | Grid
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
    """Measure the ranges of `source`, or take those that are given; for weights alone there are none.

    What calibration could give those, rescaled channels and corrected biases, is within a decibel of nothing on the
    trained models, either way.

    Raises:
        InputError: The ranges are of another graph, or the images changed meanwhile.
        OutOfBoundsError: An activation is not finite, or rescaling changed the answer.
    """
    assert graph.grid is not None
    images, ranges = inputs.images, inputs.ranges
    if quantization.weight_only:
        return CalibratedGraph(ranges=graph.grid, model=source.model, stages=(), images=images)
    if ranges is not None:
        require_ranges_of(source.model, ranges, graph.grid, quantization.method, attention=quantization.attention)
        try:
            model, stages = _rescaled(source, ranges.rescalings, progress)
        except (ValueError, IndexError) as error:
            why = f"has rescalings that do not fit the model: {error}"
            raise InputError(f"‹ranges› {quantization.ranges} {why}") from error
        return CalibratedGraph(ranges=ranges, model=model, stages=stages, images=images)
    assert images is not None
    options = CalibrationOptions(
        grid=graph.grid,
        method=quantization.method_for(graph.grid),
        attention=quantization.attention,
        equalization=quantization.equalization_for(graph.grid),
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
        ValueError, IndexError: The rescalings are those of another model.
        OutOfBoundsError: The rescaled model gives other logits.
    """
    if not rescalings:
        return source.model, ()
    progress(RESCALING)
    exponents = {site: rescaling.exponents for site, rescaling in rescalings.items()}
    shifts = {site: rescaling.shifts for site, rescaling in rescalings.items() if rescaling.shifts}
    equalized = equalize(source.folded, exponents, shifts)
    stage = prove_rewrite("rescaled-float64", "folded-float64", equalized, source.folded, source.float_images)
    return with_weights(source.model, graph_module(equalized, source.spec, source.preprocessing)), (stage,)


def typed_graph(calibrated: CalibratedGraph, options: ExportOptions, float_units: tuple[str, ...]) -> onnx.ModelProto:
    """Return the graph with all linears but `float_units` quantised, in its types."""
    model = quantize_graph(calibrated.model, calibrated.ranges, frozenset(float_units))
    typed = in_types(finish(model), options.graph.rest, options.graph.reattention_form)
    is_for_cpu = isinstance(calibrated.ranges, Ranges) and calibrated.ranges.grid is Grid.UINT8
    return fuse_products(typed) if is_for_cpu else typed
