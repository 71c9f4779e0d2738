"""What was tried to lose less in INT8, part by part: the shifts, which export makes, and what did not pay.

The shifts are of what LayerNorm gives, by channel, and of what GELU gives, by a constant. The
rest begins with a graph as export writes it, with shifts or without, and changes how its weights are rounded, its biases
corrected, or its activations scaled.
"""

import dataclasses
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from deepvit.calibration.grid import rounded, weight_scale
from deepvit.calibration.observe import passes, rescale
from deepvit.calibration.observe.equalization import Equalization
from deepvit.calibration.observe.statistics import ImageFeed, probed
from deepvit.calibration.policy import activations_of, find_products
from deepvit.calibration.quantize import quantize_graph
from deepvit.calibration.ranges import Ranges
from deepvit.export.graph.onnx_file import INPUT, finish
from deepvit.export.quantized.calibrated import CalibratedGraph, calibrate_graph, typed_graph
from deepvit.runtime.artifact.manifest import Grid
from deepvit.runtime.ort.arithmetic import Arithmetic

from .forms import FORMS, Form, Graphs
from .subject import Subject, export_options, onnxruntime_logits, say, scored

Float64 = npt.NDArray[np.float64]
Inputs = dict[str, npt.NDArray[np.float32]]  # tensor → rows (N, channels)
ALL = "norms and GELU shifted"
SHIFTS = {
    "nothing shifted": (False, False),
    "norms shifted": (True, False),
    "GELU shifted": (False, True),
    ALL: (True, True),
}
FORM_NAMES = ("INT8", "INT8, for CPUs", "FP8")
LEARNT_ON = 96  # images, with all their tokens
DAMPING = 0.01  # of the mean of H's diagonal, as GPTQ has it


def measure_mending(subject: Subject, graphs: Graphs) -> dict[str, Any]:
    """Return a row for each form and shift, and one for each of what else was tried on INT8, with shifts and without."""
    rows = {}
    for name in FORM_NAMES:
        for shift, parts in SHIFTS.items():
            if name == "INT8" or not parts[1]:  # what GELU gives is shifted for INT8 alone
                calibrated = shifted(graphs, FORMS[name], *parts)
                typed = typed_graph(calibrated, export_options(FORMS[name].graph, subject.dataset), ())
                rows[f"{name}: {shift}"] = _row(subject, f"{name}: {shift}", typed)
    for shift in ("nothing shifted", ALL):
        calibrated = shifted(graphs, FORMS["INT8"], *SHIFTS[shift])
        inputs = _inputs(graphs, calibrated)
        for name, change in TRIED.items():
            changed = finish(change(calibrated, inputs))
            rows[f"INT8: {shift}; {name}"] = _row(subject, f"INT8: {shift}; {name}", changed)
    return {"rows": rows}


def shifted(graphs: Graphs, form: Form, norms: bool, gelu: bool) -> CalibratedGraph:
    """Calibrate with some of the shifts."""
    with (
        mock.patch.object(rescale, "_middles", rescale._middles if norms else lambda s: np.zeros(len(s.low))),
        mock.patch.object(
            passes, "shifted_activations", passes.shifted_activations if gelu else lambda *_: frozenset()
        ),
    ):
        quantization = dataclasses.replace(form.quantization, equalization=Equalization.SHIFT)
        inputs = graphs.inputs(quantization)
        return calibrate_graph(graphs.float32(form.graph), form.graph, quantization, inputs, say)


def _row(subject: Subject, name: str, model: onnx.ModelProto) -> dict[str, Any]:
    say(name)
    return scored(subject, onnxruntime_logits(model, subject.images, Arithmetic.AS_DECLARED)[0])


def _inputs(graphs: Graphs, calibrated: CalibratedGraph) -> Inputs:
    """Return what the linears read on some of the images that calibrate."""
    images, source = graphs.inputs(FORMS["INT8"].quantization).images, graphs.float32(FORMS["INT8"].graph)
    assert images is not None
    batches = ImageFeed(images.source, source.preprocessing, source.loaded.module.in_chans).batches()
    some = np.concatenate(list(batches))[:: len(images.source) // LEARNT_ON]
    tensors = list(activations_of(find_products(calibrated.model)))
    found = probed(calibrated.model, tensors).run({INPUT: some})
    return {name: found[name].reshape(-1, found[name].shape[-1]) for name in tensors}


def _with_weights(
    calibrated: CalibratedGraph, inputs: Inputs, rounds: Callable[[Float64, Float64], Float64], *, of_rounded: bool
) -> onnx.ModelProto:
    """Quantise, each weight in steps (inputs, outputs) rounded by `rounds`, which is given the inputs' second moments.

    With `of_rounded` the bias is corrected by the mean of the inputs as the grid holds them.
    """
    ranges = calibrated.ranges
    assert isinstance(ranges, Ranges)
    model = quantize_graph(calibrated.model, ranges)
    exact = {each.name: numpy_helper.to_array(each) for each in calibrated.model.graph.initializer}
    stored_in = {each.name: each for each in model.graph.initializer}
    for product in find_products(calibrated.model):
        assert product.weight is not None
        assert product.bias is not None
        name, weight = product.activations[0], exact[product.weight].astype(np.float64)
        rows, measured, scale = inputs[name], ranges.tensors[name], weight_scale(exact[product.weight], Grid.INT8)
        held = rounded(rows - np.float32(measured.shift), measured.scale(Grid.INT8)).astype(np.float64)
        steps = np.clip(rounds(weight / scale.step, held.T @ held / len(held)), -127, 127)
        means = np.array(ranges.means[name])
        read, kept = means, means - measured.shift
        if of_rounded:
            read, kept = rows.mean(axis=0, dtype=np.float64), held.mean(axis=0)
        bias = exact[product.bias] + read @ weight - kept @ (steps * scale.step)
        for key, values in ((product.weight, steps.astype(np.int8)), (product.bias, bias.astype(np.float32))):
            stored_in[key].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), key))
    return model


def rounded_by_second_moments(steps: Float64, moments: Float64) -> Float64:
    """Round weights input by input, what each loses made up for by those that follow.

    Source: Frantar et al., "GPTQ" (arXiv:2210.17323), algorithm 1, with the inputs in their own order.
    """
    steps, count = steps.copy(), len(moments)
    inverse = np.linalg.inv(moments + DAMPING * np.diag(moments).mean() * np.eye(count))
    upper = np.linalg.cholesky(inverse).T
    for index in range(count):
        lost = (steps[index] - np.clip(np.rint(steps[index]), -127, 127)) / upper[index, index]
        steps[index + 1 :] -= np.outer(upper[index, index + 1 :], lost)
        steps[index] = np.rint(steps[index])
    return steps


def by_output_error(calibrated: CalibratedGraph, inputs: Inputs) -> onnx.ModelProto:
    """Quantise with the ranges that leave least squared error in what the linears give."""
    ranges = calibrated.ranges
    assert isinstance(ranges, Ranges)
    exact = {each.name: numpy_helper.to_array(each) for each in calibrated.model.graph.initializer}
    tensors = dict(ranges.tensors)
    for name, products in activations_of(find_products(calibrated.model)).items():
        weight = np.concatenate([exact[product.weight or ""] for product in products], axis=1)
        old, rows = tensors[name], inputs[name][::3]
        low, high = old.minimum - old.shift, old.maximum - old.shift
        candidates = [
            old.model_copy(update={"low": old.shift + low * part, "high": old.shift + high * part})
            for part in np.geomspace(1 / 8, 1, 40)
        ]
        errors = [
            ((rounded(rows - np.float32(each.shift), each.scale(Grid.INT8)) + np.float32(each.shift) - rows) @ weight)
            for each in candidates
        ]
        tensors[name] = candidates[int(np.argmin([(error.astype(np.float64) ** 2).sum() for error in errors]))]
    return quantize_graph(calibrated.model, ranges.model_copy(update={"tensors": tensors}))


def by_token(calibrated: CalibratedGraph, _inputs: Inputs) -> onnx.ModelProto:
    """Quantise with a step for each token, taken from its own values as it runs; no engine's graph, for comparison."""
    assert isinstance(calibrated.ranges, Ranges)
    model = quantize_graph(calibrated.model, calibrated.ranges)
    activations = {f"{name.removesuffix('.out')}/" for name in calibrated.ranges.tensors}
    constants = {"levels": np.float32(127), "tiny": np.float32(1e-9), "last": np.array([-1], np.int64)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    nodes = []
    for node in model.graph.node:
        name = node.name.removesuffix("QuantizeLinear")
        if node.op_type == "QuantizeLinear" and name in activations:
            nodes += _chain(name, node.input[0], node.output[0])
        elif node.op_type == "DequantizeLinear" and node.name.removesuffix("DequantizeLinear") in activations:
            nodes.append(helper.make_node("Identity", [node.input[0]], list(node.output), node.name))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _chain(prefix: str, source: str, result: str) -> list[onnx.NodeProto]:
    """Return nodes that round each row to 127 steps of its own largest magnitude."""
    size, most, step, safe, steps, whole = (
        f"{prefix}{each}" for each in ("abs", "max", "div", "step", "steps", "whole")
    )
    return [
        helper.make_node("Abs", [source], [size], size),
        helper.make_node("ReduceMax", [size, "last"], [most], most, keepdims=1),
        helper.make_node("Div", [most, "levels"], [step], step),
        helper.make_node("Max", [step, "tiny"], [safe], safe),
        helper.make_node("Div", [source, safe], [steps], steps),
        helper.make_node("Round", [steps], [whole], whole),
        helper.make_node("Mul", [whole, safe], [result], f"{prefix}rounded"),
    ]


TRIED: dict[str, Callable[[CalibratedGraph, Inputs], onnx.ModelProto]] = {
    "biases by the mean of what the grid holds": lambda calibrated, inputs: _with_weights(
        calibrated, inputs, lambda steps, _: np.rint(steps), of_rounded=True
    ),
    "weights rounded by second moments (GPTQ)": lambda calibrated, inputs: _with_weights(
        calibrated, inputs, rounded_by_second_moments, of_rounded=False
    ),
    "ranges by the error of the linears": by_output_error,
    "a step for each token": by_token,
}
