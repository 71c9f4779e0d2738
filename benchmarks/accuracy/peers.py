"""Ours beside other tools: the same float32 graph, the same products in INT8, the same images.

ONNX Runtime's own, and NVIDIA's ModelOpt where it is installed; its package pins older versions of what we need, so that it
is none of ours: pip install --no-deps --target FOLDER nvidia-modelopt onnx-graphsurgeon onnxconverter-common lief onnxslim
polygraphy cppimport omegaconf pulp, and PYTHONPATH=FOLDER.
"""

import importlib.util
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import onnx

from deepvit.calibration.observe.statistics import ImageFeed
from deepvit.calibration.policy import find_products
from deepvit.calibration.quantize import count_quantized, quantize_graph
from deepvit.export.graph.float32 import Float32Graph
from deepvit.export.graph.onnx_file import INPUT, finish, to_bytes
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.session.tensors import Images

from .forms import FORMS, PLAIN, Form, Graphs
from .subject import INT8, Subject, onnxruntime_logits, say, scored

OURS = {"ours, as export does": FORMS["INT8"], "ours, max, no help": FORMS[PLAIN]}
THEIRS = ("MinMax", "Entropy", "Percentile")
MODELOPT = ("max", "entropy")


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
    for method in MODELOPT if importlib.util.find_spec("modelopt") else ():
        name = f"NVIDIA ModelOpt, {method}"
        rows[name] = _row(subject, name, quantized_by_modelopt(source, feed, method))
    return {"calibration_images": len(images.source), "rows": rows}


def _row(subject: Subject, name: str, model: onnx.ModelProto) -> dict[str, Any]:
    say(name)
    logits, _ = onnxruntime_logits(model, subject.images, Arithmetic.NATIVE)
    return {"quantized_gemms": count_quantized(model), **scored(subject, logits)}


def _ours(graphs: Graphs, form: Form) -> onnx.ModelProto:
    calibrated = graphs.calibrated(form)
    return finish(quantize_graph(calibrated.model, calibrated.ranges))


class Reader:
    """Images as both tools ask for them."""

    def __init__(self, feed: ImageFeed) -> None:
        self._feed, self._batches = feed, feed.batches()

    def get_next(self) -> dict[str, Images] | None:
        """Return the next batch, or None when all were given."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}

    def rewind(self) -> None:
        """Begin again."""
        self._batches = self._feed.batches()

    def get_first(self) -> dict[str, Images]:
        """Return a batch to look at, and begin again."""
        return {INPUT: next(self._feed.batches())}

    def __iter__(self) -> Iterator[dict[str, Images]]:
        return ({INPUT: batch} for batch in self._batches)


def quantized_by_onnxruntime(source: Float32Graph, feed: ImageFeed, method: str) -> onnx.ModelProto:
    """Return the graph with the same products quantised by ONNX Runtime's tool: signed, symmetric, by channel, Q/DQ."""
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as name:
        before, after = pathlib.Path(name) / "float32.onnx", pathlib.Path(name) / "int8.onnx"
        before.write_bytes(to_bytes(source.model))
        quantization.quantize_static(
            before, after, Reader(feed),
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


def quantized_by_modelopt(source: Float32Graph, feed: ImageFeed, method: str) -> onnx.ModelProto:
    """Return the graph with the same products quantised by NVIDIA's tool, all else in float32."""
    from modelopt.onnx import quantization

    with tempfile.TemporaryDirectory() as name:
        before, after = pathlib.Path(name) / "float32.onnx", pathlib.Path(name) / "int8.onnx"
        before.write_bytes(to_bytes(source.model))
        quantization.quantize(
            str(before),
            quantize_mode="int8",
            calibration_data_reader=Reader(feed),
            calibration_method=method,
            calibration_eps=["cpu"],
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=[product.node for product in find_products(source.model)],
            high_precision_dtype="fp32",
            output_path=str(after),
        )
        return onnx.load(after)
