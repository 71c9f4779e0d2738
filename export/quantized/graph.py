"""Float32 graph → INT8 or FP8 graph within its accuracy budget, checked on images that had no part in it."""

from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.ranges import Ranges, ranges_sha256
from deepvit.progress import Progress
from deepvit.runtime.artifact.manifest import Calibration, Grid

from ..graph.float32 import Float32Graph
from ..graph.typed import TypedGraph
from ..options import ExportOptions
from .budget_search import FittedGraph, fit_budget
from .calibrated import CalibratedGraph, calibrate_graph, typed_graph
from .held_out_check import HeldOutCheck, require_default
from .plan import CalibrationInput


def quantize(source: Float32Graph, options: ExportOptions, inputs: CalibrationInput, progress: Progress) -> TypedGraph:
    """Calibrate `source` and quantise it, all of it or what the budget allows.

    Raises:
        InputError: Ranges of another graph, or images that changed.
        OutOfBoundsError: Quantisation costs too much, an activation is not finite, or rescaling changed the answer.
    """
    quantization = options.quantization
    calibrated = calibrate_graph(source, options.graph, quantization, inputs, progress)
    check = HeldOutCheck(source, inputs.held_out, options.graph.precision, progress)
    if quantization.goal is None:
        fitted = _everything(calibrated, check, options)
    else:
        fitted = fit_budget(quantization.goal, source, calibrated, check, options, progress)
    ranges = calibrated.ranges
    text = ranges.to_json().encode() if isinstance(ranges, Ranges) else b""
    return TypedGraph(
        model=fitted.model,
        source=source,
        float32=calibrated.model,
        stages=calibrated.stages,
        extremes=_extremes(ranges),
        calibration=_record(ranges, text, fitted, quantization),
        ranges_text=text,
    )


def _extremes(ranges: Ranges | Grid) -> dict[str, float]:
    tensors = ranges.tensors if isinstance(ranges, Ranges) else {}
    return {name: max(-extreme.minimum, extreme.maximum) for name, extreme in tensors.items()}


def _everything(calibrated: CalibratedGraph, check: HeldOutCheck, options: ExportOptions) -> FittedGraph:
    """Quantise every linear, and measure what it costs where there are images for it.

    Raises:
        OutOfBoundsError: A trained model surely loses more than it may.
    """
    model = typed_graph(calibrated, options, ())
    if check.held_out is None:
        return FittedGraph(model=model, float_units=(), check=None)
    record, _ = check.measure(model, check.held_out)
    require_default(record)
    return FittedGraph(model=model, float_units=(), check=record)


def _record(ranges: Ranges | Grid, text: bytes, fitted: FittedGraph, quantization: QuantizationOptions) -> Calibration:
    budget = quantization.budget
    text_of_budget = None if budget is None else budget.text
    if isinstance(ranges, Grid):
        return Calibration(
            grid=ranges,
            weight_only=True,
            budget=text_of_budget,
            budget_proof=fitted.proof,
            kept=fitted.float_units,
            check=fitted.check,
        )
    return Calibration(
        method=ranges.method,
        images=ranges.images,
        list_sha256=ranges.list_sha256,
        ranges_sha256=ranges_sha256(text),
        grid=ranges.grid,
        split=ranges.split,
        seed=ranges.seed,
        replaced=ranges.replaced,
        rescaled=len(ranges.rescalings) + sum(tensor.shift != 0 for tensor in ranges.tensors.values()),
        attention=ranges.attention,
        budget=text_of_budget,
        budget_proof=fitted.proof,
        kept=fitted.float_units,
        check=fitted.check,
    )
