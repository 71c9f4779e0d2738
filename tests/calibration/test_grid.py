"""Rounding to a grid is ONNX's Q/DQ, bit for bit; scales are FP16 numbers that cover the range."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepvit.calibration.grid import DTYPES, E4M3_MAX, half_step, rounded, scale_of, stored, weight_scale
from deepvit.runtime.artifact.manifest import Grid
from deepvit.runtime.ort.graph import OnnxGraph


def _by_onnxruntime(values, scale):
    step = numpy_helper.from_array(scale.step.reshape(()), "step")
    zero = numpy_helper.from_array(np.array(scale.zero_point, DTYPES[scale.grid]), "zero")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])], [step, zero],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return OnnxGraph(model.SerializeToString(), name="q").run({"x": values})["y"]


@pytest.mark.parametrize("grid", list(Grid))
@pytest.mark.parametrize(("low", "high"), [(-3.0, 5.0), (-0.17, 9.0), (0.0, 1.0), (-1e-3, 1e-4), (-40.0, -2.0)])
def test_rounding_is_onnx_quantize_and_dequantize(grid, low, high):
    scale = scale_of(low, high, grid)
    values = np.random.default_rng(0).uniform(1.5 * low - 0.01, 1.5 * high + 0.01, 4001).astype(np.float32)
    if grid is Grid.INT8:
        values = values[values > -127.4 * scale.step]  # −128 is ONNX's, and never ours
    assert np.array_equal(rounded(values, scale), _by_onnxruntime(values, scale))


@pytest.mark.parametrize("grid", list(Grid))
def test_scales_are_fp16_numbers_that_cover_the_range_and_keep_zero(grid):
    for low, high in np.random.default_rng(1).normal(0, 3, (200, 2)):
        low, high = min(low, high), max(low, high)
        scale = scale_of(low, high, grid)
        assert float(np.float16(scale.step)) == float(scale.step)
        assert rounded(np.zeros(1, np.float32), scale)[0] == 0.0
        edge = np.array([low, high], np.float32)
        slack = 2**-4 * abs(edge) if grid is Grid.FP8 else 0.51 * float(scale.step)
        assert (abs(rounded(edge, scale) - edge) <= slack + 1e-9).all()


def test_steps_are_rounded_up_never_down():
    exact = np.abs(np.random.default_rng(2).normal(0, 1e-2, 1000)) + 1e-6
    steps = half_step(exact)
    assert (steps.astype(np.float64) >= exact).all()
    assert (steps <= exact * 1.07).all()  # at 1e-6 an FP16 subnormal has four bits
    assert half_step(0.0) > 0


def test_weights_have_a_step_for_each_output_in_int8_and_one_in_fp8():
    weight = np.random.default_rng(3).normal(0, [[0.01, 1.0, 0.0]], (64, 3)).astype(np.float32)
    scale = weight_scale(weight, Grid.UINT8)
    assert scale.grid is Grid.INT8
    assert scale.step.shape == (3,)
    error = np.abs(rounded(weight, scale) - weight)
    assert (error <= 0.5 * scale.step + 1e-9).all()
    assert stored(weight, scale).min() >= -127
    one = weight_scale(weight, Grid.FP8)
    assert one.step.shape == ()
    assert float(np.abs(stored(weight, one).astype(np.float32)).max()) <= E4M3_MAX
    assert onnx.helper.np_dtype_to_tensor_dtype(stored(weight, one).dtype) == TensorProto.FLOAT8E4M3FN
