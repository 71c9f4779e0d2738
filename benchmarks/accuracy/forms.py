"""The forms whose accuracy is measured, and how each becomes a graph."""

import dataclasses

import onnx

from deepvit.calibration.observe.equalization import Equalization
from deepvit.calibration.observe.histogram import Method
from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.ranges import Ranges
from deepvit.export.graph.cast import cast_graph
from deepvit.export.graph.float32 import Float32Graph, float32_graph
from deepvit.export.options import GraphOptions, Target
from deepvit.export.quantized.calibrated import CalibratedGraph, calibrate_graph, typed_graph
from deepvit.export.quantized.plan import CalibrationInput, calibration_input
from deepvit.images.samples import parity_crops
from deepvit.model.load import LoadedModel
from deepvit.runtime.artifact.manifest import Precision

from .subject import export_options, say

METHODS = ("max", "percentile-99.9", "percentile-99.99", "percentile-99.999", "entropy", "mse")
PARITY_IMAGES = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """One way to write a model: as `export` does, but that biases may be left as they are.

    `openvino` says whether it is tried there too.
    """

    graph: GraphOptions
    quantization: QuantizationOptions = dataclasses.field(default_factory=QuantizationOptions)
    corrects_bias: bool = True
    openvino: bool = False


def _form(
    precision: Precision, *, target: Target = Target.ONNX, openvino: bool = False, **quantization: object
) -> Form:
    options = QuantizationOptions(**quantization)  # type: ignore[arg-type]
    return Form(graph=GraphOptions(precision=precision, target=target), quantization=options, openvino=openvino)


def _forms() -> dict[str, Form]:
    off = Equalization.OFF
    forms = {
        "FP32": _form(Precision.FP32, openvino=True),
        "FP16": _form(Precision.FP16, openvino=True),
        "BF16": _form(Precision.BF16, openvino=True),
        "INT8": _form(Precision.INT8, openvino=True),
        "INT8, for CPUs": _form(Precision.INT8, target=Target.CPU, openvino=True),
        "INT8, weights alone": _form(Precision.INT8, weight_only=True, openvino=True),
        "FP8": _form(Precision.FP8, openvino=True),
        "FP8, not rescaled": _form(Precision.FP8, equalization=off),
        "FP8 with attention": _form(Precision.FP8, attention=True),
        "FP8, weights alone": _form(Precision.FP8, weight_only=True),
    }
    for method in METHODS:
        forms[f"INT8, {method}"] = _form(Precision.INT8, method=Method(method))
        forms[f"INT8, {method}, not rescaled"] = _form(Precision.INT8, method=Method(method), equalization=off)
    plain = _form(Precision.INT8, method=Method("max"), equalization=off)
    return forms | {PLAIN: dataclasses.replace(plain, corrects_bias=False)}


PLAIN = "INT8, max, no help"  # neither rescaled nor its biases corrected
FORMS = _forms()
MAIN = ("FP32", "FP16", "BF16", "INT8", "INT8, for CPUs", "INT8, weights alone", "FP8", "FP8 with attention", PLAIN)


class Graphs:
    """The float32 graphs of a model, and what they become; each is traced, proved and calibrated once."""

    def __init__(self, loaded: LoadedModel, dataset: str | None) -> None:
        self._loaded, self._dataset = loaded, dataset
        self._crops = parity_crops(dataset, PARITY_IMAGES, loaded.preprocessing())
        self._float32: dict[str, Float32Graph] = {}
        self._inputs: dict[int | None, CalibrationInput] = {}
        self._calibrated: dict[str, CalibratedGraph] = {}

    def float32(self, graph: GraphOptions) -> Float32Graph:
        """Return the float32 graph that `graph` begins with, proved."""
        key = repr(graph.spec)
        if key not in self._float32:
            self._float32[key] = float32_graph(self._loaded, graph.spec, self._crops, say)
        return self._float32[key]

    def inputs(self, quantization: QuantizationOptions) -> CalibrationInput:
        """Return the images that calibrate; none for weights alone."""
        if quantization.weight_only:
            return CalibrationInput(images=None, ranges=None)
        if quantization.images not in self._inputs:
            self._inputs[quantization.images] = calibration_input(self._loaded, quantization, self._dataset, say)
        return self._inputs[quantization.images]

    def calibrated(self, form: Form) -> CalibratedGraph:
        """Return the float32 graph of a form in eight bits with its ranges."""
        key = repr((form.graph, form.quantization))
        if key not in self._calibrated:
            source, inputs = self.float32(form.graph), self.inputs(form.quantization)
            self._calibrated[key] = calibrate_graph(source, form.graph, form.quantization, inputs, say)
        found = self._calibrated[key]
        if form.corrects_bias or not isinstance(found.ranges, Ranges):
            return found
        return dataclasses.replace(found, ranges=without_means(found.ranges))

    def typed(self, form: Form) -> onnx.ModelProto:
        """Return the graph of a form, all linears quantised, in its types."""
        if form.graph.grid is None:
            return cast_graph(self.float32(form.graph).model, form.graph.precision)
        return typed_graph(self.calibrated(form), export_options(form.graph, self._dataset), ())


def without_means(ranges: Ranges) -> Ranges:
    """Return ranges whose inputs are 0 in the mean: then no bias is corrected."""
    means = {name: (0.0,) * len(mean) for name, mean in ranges.means.items()}
    return ranges.model_copy(update={"means": means})
