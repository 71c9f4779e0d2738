"""Damaged and crafted ONNX models: opened and run, or refused in one line; nothing else ever comes out."""

import random
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepvit.runtime.errors import InputError, MissingError, OutOfBoundsError
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.rounding import rounded_on_cpu
from deepvit.runtime.ort.session import OnnxRuntimeSession
from tests.places import ROOT

SEED, MUTANTS = 18, 400
REFUSALS = (InputError, MissingError, OutOfBoundsError)
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def _model():
    """Images (B, 3, 4, 4) → logits (B, 5): FP16 products, one of them of eight bits, and what goes round them."""
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=(48, 16)).astype(np.float16),
        "b": rng.normal(size=16).astype(np.float16),
        "q": rng.integers(-99, 99, (16, 5), np.int8),
        "s": np.float16(0.01),
        "z": np.int8(0),
        "shape": np.array([0, 48], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["half"], "cast", to=HALF),
        helper.make_node("Reshape", ["half", "shape"], ["rows"], "reshape"),
        helper.make_node("MatMul", ["rows", "w"], ["product"], "first"),
        helper.make_node("Add", ["product", "b"], ["sum"], "bias"),
        helper.make_node("Softmax", ["sum"], ["soft"], "soft", axis=-1),
        helper.make_node("QuantizeLinear", ["soft", "s", "z"], ["stored"], "quantise"),
        helper.make_node("DequantizeLinear", ["stored", "s", "z"], ["restored"], "restore"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["weights"], "weights"),
        helper.make_node("MatMul", ["restored", "weights"], ["narrow"], "second"),
        helper.make_node("Cast", ["narrow"], ["logits"], "widen", to=FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", FLOAT, ["batch", 3, 4, 4])],
        [helper.make_tensor_value_info("logits", FLOAT, ["batch", 5])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def _change_tensor(model, rng):
    tensor = rng.choice(model.graph.initializer)
    kind = rng.randrange(5)
    if kind == 0:
        tensor.dims[:] = [rng.choice((0, 1, 3, 2**31, 2**62, -1)) for _ in range(rng.randrange(4))]
    elif kind == 1:
        tensor.data_type = rng.randrange(30)
    elif kind == 2:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif kind == 3:
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1.0] * rng.randrange(9))
    else:
        model.graph.initializer.remove(tensor)


def _change_node(model, rng):
    node = rng.choice(model.graph.node)
    kind = rng.randrange(6)
    if kind == 0:
        node.op_type = rng.choice(("Relu", "Cast", "Loop", "Split", "ConstantOfShape", "Pad", "", "Gather"))
    elif kind == 1 and node.attribute:
        rng.choice(node.attribute).i = rng.choice((-(2**63), -9, 0, 1, 10, 16, 17, 99, 2**63 - 1))
    elif kind == 2:
        edges = rng.choice((node.input, node.output))
        edges[rng.randrange(len(edges))] = rng.choice(("", "images", "logits", "w", "soft", "none"))
    elif kind == 3:
        model.graph.node.remove(node)
    elif kind == 4:
        node.attribute.add(name=rng.choice(("to", "axis", "x")), type=rng.randrange(15), f=1.5)
    else:
        del node.output[:]


def _change_interface(model, rng):
    value = rng.choice([*model.graph.input, *model.graph.output])
    kind = rng.randrange(6)
    if kind == 0:
        value.type.tensor_type.elem_type = rng.randrange(25)
    elif kind == 1 and value.type.tensor_type.shape.dim:
        rng.choice(value.type.tensor_type.shape.dim).dim_value = rng.choice((-1, 0, 1, 7, 2**40))
    elif kind == 2:
        value.name = rng.choice(("", "sum", "stored", "other"))
    elif kind == 3:
        value.type.Clear()
    elif kind == 4:
        del model.graph.output[:]
    else:
        model.opset_import[0].version = rng.choice((0, 1, 7, 99))


def _mutant(content, rng):
    if rng.random() < 0.5:
        mutant = bytearray(content)
        for _ in range(rng.randrange(1, 8)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        return bytes(mutant)
    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.randrange(1, 3)):
        rng.choice((_change_tensor, _change_node, _change_interface))(model, rng)
    return model.SerializeToString()


@pytest.mark.parametrize("arithmetic", Arithmetic)
def test_mutants_run_or_are_refused(arithmetic):
    content, refused = _model().SerializeToString(), 0
    images = np.ones((2, 3, 4, 4), np.float32)
    assert OnnxRuntimeSession(content, name="m", arithmetic=arithmetic).run(images).shape == (2, 5)
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    for number in range(MUTANTS):
        mutant = _mutant(content, rng)
        try:
            session = OnnxRuntimeSession(mutant, name="m", arithmetic=arithmetic, threads=1)
            pixels = images if session.input.dtype == "float32" else images.astype(np.uint8)
            sizes = [size if isinstance(size, int) else 2 for size in session.input.shape]
            if np.prod(sizes[1:]) < 1e6 and sizes[0] < 1e3:
                logits = session.run(np.resize(pixels, (2, *sizes[1:])))
                assert logits.shape == (2, session.classes)
        except REFUSALS as error:
            refused += 1
            assert "\n" not in str(error), number
    assert MUTANTS / 3 < refused < MUTANTS


def test_values_that_are_not_as_many_as_their_shape_says():
    model = _model()
    model.graph.initializer[0].raw_data = b"12"
    with pytest.raises(InputError, match="the types of the graph's values cannot be inferred"):
        rounded_on_cpu(model.SerializeToString())


def test_an_output_of_another_shape_than_declared():
    model = _model()
    model.graph.node[-1].output[0] = "all"
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 2, 2, 2], np.float32), "thresholds"))
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["images"], ["brightest"], keepdims=0),
            helper.make_node("Greater", ["thresholds", "brightest"], ["chosen"]),
            helper.make_node("Compress", ["all", "chosen"], ["logits"], axis=1),  # how many, the images decide
        ]
    )
    session = OnnxRuntimeSession(model.SerializeToString(), name="m")
    assert session.run(np.zeros((2, 3, 4, 4), np.float32) - 1).shape == (2, 5)
    with pytest.raises(InputError, match=r"m gave logits of shape \(2, 3\), declared \(2, 5\)"):
        session.run(np.ones((2, 3, 4, 4), np.float32))


def test_an_attribute_of_another_type_does_not_crash_inference():
    """In a process of its own: it ends in SIGABRT where the onnx package infers shapes of what it has not checked."""
    split = helper.make_node("Split", ["x"], ["y", "z"], "split", axis=-1, num_outputs=2)
    next(each for each in split.attribute if each.name == "num_outputs").type = onnx.AttributeProto.INTS
    graph = helper.make_graph(
        [helper.make_node("Cast", ["images"], ["x"], to=HALF), split],
        "split",
        [helper.make_tensor_value_info("images", FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", HALF, ["batch", 4])],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9).SerializeToString()
    code = (
        "import sys; from deepvit.runtime.ort.rounding import rounded_on_cpu; rounded_on_cpu(sys.stdin.buffer.read())"
    )
    run = subprocess.run([sys.executable, "-c", code], input=content, cwd=ROOT, capture_output=True)
    assert run.returncode == 1, run.stderr
    assert b"InputError: the types of the graph's values cannot be inferred" in run.stderr
