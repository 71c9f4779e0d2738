"""Ours beside ONNX Runtime's own tool: the same float32 graph, the same products in INT8, the same images."""

import pathlib
import tempfile
from typing import Any

import onnx

from deepvit.calibration.observe.statistics import ImageFeed
from deepvit.calibration.policy import find_products
from deepvit.calibration.quantize import count_quantized, quantize_graph
from deepvit.export.graph.float32 import Float32Graph
from deepvit.export.graph.trace import finish, to_bytes
from deepvit.runtime.ort.session import OnnxRuntimeSession

from .forms import FORMS, PLAIN, Form, Graphs
from .subject import INT8, Subject, logits_of, say, scored

OURS = {"ours, as export does": FORMS["INT8"], "ours, max, no help": FORMS[PLAIN]}
THEIRS = ("MinMax", "Entropy", "Percentile")


def measure_peers(subject: Subject, graphs: Graphs) -> dict[str, Any]:
    """Return a row for each way to choose the ranges; float32 wherever nothing is quantised."""
    source = graphs.float32(INT8)
    images = graphs.inputs(FORMS["INT8"].quantization).images
    assert images is not None
    feed = ImageFeed(images.source, source.preprocessing, subject.loaded.module.in_chans)
    rows = {name: _row(subject, name, _ours(graphs, form)) for name, form in OURS.items()}
    for method in THEIRS:
        name = f"onnxruntime.quantization, {method}"
        rows[name] = _row(subject, name, quantized_by_onnxruntime(source, feed, method))
    return {"calibration_images": len(images.source), "rows": rows}


def _row(subject: Subject, name: str, model: onnx.ModelProto) -> dict[str, Any]:
    say(name)
    session = OnnxRuntimeSession(to_bytes(model), name=name)
    return {"quantized_gemms": count_quantized(model), **scored(subject, logits_of(session, subject.images))}


def _ours(graphs: Graphs, form: Form) -> onnx.ModelProto:
    calibrated = graphs.calibrated(form)
    return finish(quantize_graph(calibrated.model, calibrated.ranges))


def quantized_by_onnxruntime(source: Float32Graph, feed: ImageFeed, method: str) -> onnx.ModelProto:
    """Return the graph with the same products quantised by ONNX Runtime's tool: signed, symmetric, by channel, Q/DQ."""
    from onnxruntime import quantization

    input_name, batches = source.model.graph.input[0].name, feed.batches()

    class Feed(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            batch = next(batches, None)
            return None if batch is None else {input_name: batch}

    with tempfile.TemporaryDirectory() as name:
        before, after = pathlib.Path(name) / "float32.onnx", pathlib.Path(name) / "int8.onnx"
        before.write_bytes(to_bytes(source.model))
        quantization.quantize_static(
            before, after, Feed(),
            quant_format=quantization.QuantFormat.QDQ,
            nodes_to_quantize=[product.node for product in find_products(source.model)],
            op_types_to_quantize=["MatMul"],
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            calibrate_method=quantization.CalibrationMethod[method],
            extra_options={
                "ActivationSymmetric": True, "WeightSymmetric": True,
                "OpTypesToExcludeOutputQuantization": ["MatMul"],  # what a linear gives stays float32, as ours does
            },
        )  # fmt: skip
        return onnx.load(after)
