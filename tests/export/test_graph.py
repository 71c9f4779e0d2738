"""The exported graph: forms, input, types, names, reproducibility."""

import dataclasses
import hashlib
import itertools
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch

import deepvit.model
from deepvit.export.graph.cast import cast_graph, check_fp16_range
from deepvit.export.graph.module import GraphAttention, GraphBlock, GraphModule
from deepvit.export.graph.onnx_file import to_bytes
from deepvit.export.graph.padding import TokenPadding, Tokens
from deepvit.export.graph.proof.activation_range import largest_activations
from deepvit.export.graph.proof.batch_check import check_batches
from deepvit.export.graph.trace import onnx_from_module
from deepvit.export.options import GraphOptions, Target
from deepvit.metrics.bounds import FP16_MAX
from deepvit.model.architecture import Stem
from deepvit.model.rewrites.fold import ALWAYS, FOLDS, fold
from deepvit.model.weights.random import randomize
from deepvit.runtime.artifact.manifest import ANY_BATCH, BatchRange, InputForm, MixForm, Precision, QkvForm
from deepvit.runtime.errors import InputError, OutOfBoundsError
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.graph import OnnxGraph
from deepvit.runtime.ort.rounding import rounded_on_cpu
from deepvit.runtime.preprocess import Preprocessing, model_input
from tests.doubles.tiny_models import TINY, pixels
from tests.places import ROOT

MEANS = Preprocessing(
    resize=32, crop=32, interpolation="bicubic", mean=(0.5, 0.4, 0.3), std=(0.5, 0.6, 0.7), layout="NCHW"
)
FLOAT64_BOUND = 1e-12
FP32_BOUND = 1e-5


def _graph_module(
    model,
    mix=MixForm.MATMUL_VALUE,
    qkv=QkvForm.FUSED,
    form=InputForm.FLOAT32,
    folds=ALWAYS,
    padding=TokenPadding.NEVER,
):
    folded, _ = fold(model, folds)
    spec = dataclasses.replace(GraphOptions().spec, mix=mix, qkv=qkv, input_form=form, token_padding=padding)
    return GraphModule(folded, spec, MEANS)


def _export(model, precision=Precision.FP32, opset=20, batch=None, **forms):
    graph = _graph_module(model, **forms).float()
    is_uint8 = forms.get("form") is InputForm.UINT8
    sample = torch.zeros((1, 32, 32, 3), dtype=torch.uint8) if is_uint8 else torch.zeros((1, 3, 32, 32))
    return cast_graph(onnx_from_module(graph, sample, batch or ANY_BATCH, opset), precision)


def _run(model, images, arithmetic=Arithmetic.AS_DECLARED):
    return OnnxGraph(to_bytes(model), name="test", arithmetic=arithmetic).run({"images": images})["logits"]


@pytest.mark.parametrize("padding", [TokenPadding.NEVER, TokenPadding.ALIGNED], ids=lambda padding: padding.value)
@pytest.mark.parametrize(("mix", "qkv", "form"), itertools.product(MixForm, QkvForm, InputForm))
def test_every_form_is_exact_in_float64(tiny_model, mix, qkv, form, padding):
    folds = FOLDS if qkv is QkvForm.SPLIT else ALWAYS
    crops = pixels((4, 32, 32, 3))
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in (MEANS.mean, MEANS.std))
    wide = torch.from_numpy((crops.transpose(0, 3, 1, 2) / 255 - mean) / std)
    graph = _graph_module(tiny_model, mix, qkv, form, folds, padding)
    with torch.inference_mode():
        got = graph(torch.from_numpy(crops) if form is InputForm.UINT8 else wide)
        assert (got - tiny_model.double()(wide)).abs().max() <= FLOAT64_BOUND


@pytest.mark.parametrize("form", list(InputForm))
def test_onnx_gives_pytorchs_logits(tiny_model, form):
    crops = pixels((5, 32, 32, 3))
    floats = model_input(crops, MEANS, 3)
    with torch.inference_mode():
        expected = tiny_model(torch.from_numpy(floats)).numpy()
    got = _run(_export(tiny_model, form=form), crops if form is InputForm.UINT8 else floats)
    assert np.abs(got - expected).max() <= FP32_BOUND


def test_unfolded_models_are_refused(tiny_model):
    with pytest.raises(ValueError, match="needs fold_"):
        GraphAttention(tiny_model.blocks[1].attn, MixForm.CONV, QkvForm.FUSED, Tokens(17, 17))
    if tiny_model.blocks[0].scale_adjustment != 1.0:
        with pytest.raises(ValueError, match="fold_scale_adjustment"):
            GraphBlock(tiny_model.blocks[0], MixForm.CONV, QkvForm.FUSED, Tokens(17, 17), None)


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
@pytest.mark.parametrize("form", list(InputForm))
def test_types_are_in_the_graph(tiny_model, precision, form):
    model = _export(tiny_model, precision, opset=22, form=form)
    reduced = {Precision.FP16: onnx.TensorProto.FLOAT16, Precision.BF16: onnx.TensorProto.BFLOAT16}[precision]
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    constants = {i.name: i.data_type for i in model.graph.initializer}
    known = {**types, **constants}
    assert onnx.TensorProto.FLOAT not in constants.values()
    for node in model.graph.node:
        if node.op_type in ("MatMul", "Conv", "Gelu", "LayerNormalization", "Add"):
            assert {known[name] for name in (*node.input, *node.output) if name} == {reduced}, node.name
        if node.op_type in ("Softmax", "ReduceMean"):
            assert known[node.output[0]] == known[node.input[0]] == onnx.TensorProto.FLOAT, node.name
        if node.op_type == "LayerNormalization":
            assert {a.name: a.i for a in node.attribute}["stash_type"] == onnx.TensorProto.FLOAT
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert np.isfinite(
        _run(model, pixels((3, 32, 32, 3)) if form is InputForm.UINT8 else np.zeros((3, 3, 32, 32), "f4"))
    ).all()


def test_nodes_bear_their_modules_names(tiny_model):
    names = [node.name for node in _export(tiny_model).graph.node]
    assert len(set(names)) == len(names)
    for expected in ("blocks.1.attn.qkv/MatMul", "blocks.0.mlp.fc1/MatMul", "blocks.1.attn/Softmax", "head/"):
        assert any(name.startswith(expected) for name in names), expected


def test_nothing_of_this_machine_is_in_the_file(tiny_model):
    content = to_bytes(_export(tiny_model, Precision.FP16))
    for trace in (b".py", b"stack_trace", str(ROOT).encode(), b"site-packages"):
        assert trace not in content


def test_the_same_bytes_from_another_process():
    code = (
        "import hashlib; from tests.doubles.tiny_models import TINY; from tests.export import test_graph;"
        "m = test_graph.randomize(test_graph.deepvit.model.create_deepvit(TINY[test_graph.Stem.CNN]));"
        "print(hashlib.sha256(test_graph.to_bytes(test_graph._export(m, test_graph.Precision.FP16))).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    model = randomize(deepvit.model.create_deepvit(TINY[Stem.CNN]))
    assert run.stdout.strip() == hashlib.sha256(to_bytes(_export(model, Precision.FP16))).hexdigest()


def _planted(model, name, factor):
    for initializer in model.graph.initializer:
        if initializer.name == name:
            values = onnx.numpy_helper.to_array(initializer) * np.float32(factor)
            initializer.CopyFrom(onnx.numpy_helper.from_array(values, name))
            return model
    raise AssertionError(name)


def test_weights_outside_fp16_are_named(tiny_model):
    model = _export(tiny_model, opset=22)
    check_fp16_range(model)
    _planted(model, "blocks.1.mlp.fc1.weight_transposed", 1e6)
    _planted(model, "blocks.0.attn.proj.weight_transposed", 1e-7)
    with pytest.raises(OutOfBoundsError) as caught:
        cast_graph(model, Precision.FP16)
    assert "blocks.1.mlp.fc1.weight_transposed reaches" in str(caught.value)
    assert "blocks.0.attn.proj.weight_transposed stays below" in str(caught.value)
    cast_graph(model, Precision.BF16)


def test_an_overflow_between_nodes_is_seen_on_a_cpu(tiny_model):
    """ONNX Runtime alone may hide it: between most nodes its CPU provider keeps values in float32."""
    model = _planted(_export(tiny_model), "blocks.0.mlp.fc2.weight_transposed", 6e4)
    images = model_input(pixels((2, 32, 32, 3)), MEANS, 3)
    assert max(largest_activations(model, images).values()) > FP16_MAX
    typed = cast_graph(model, Precision.FP16)
    assert not np.isfinite(_run(typed, images)).all()


def test_rounding_happens_at_every_tensor(tiny_model):
    """FP16 logits are FP16 numbers, and coarser types are farther away."""
    fp32 = _export(tiny_model, opset=22)
    images = model_input(pixels((4, 32, 32, 3)), MEANS, 3)
    exact = _run(fp32, images)
    errors = []
    for precision, dtype in ((Precision.FP16, np.float16), (Precision.BF16, None)):
        logits = _run(cast_graph(fp32, precision), images)
        if dtype:
            assert np.array_equal(logits, logits.astype(dtype).astype(np.float32))
        errors.append(float(np.abs(logits - exact).max()))
    assert 0 < errors[0] < errors[1] < 0.5
    assert rounded_on_cpu(to_bytes(cast_graph(fp32, Precision.FP16))) != to_bytes(fp32)


def test_activation_ranges_are_the_true_maxima(tiny_model):
    model = _export(tiny_model)
    images = model_input(pixels((5, 32, 32, 3)), MEANS, 3)
    logits = np.abs(_run(model, images)).max()
    assert largest_activations(model, images)["blocks.1.attn/Softmax.out"] <= 1.0
    marked = onnx.ModelProto()
    marked.CopyFrom(model)
    name = "blocks.0.mlp.fc1/MatMul.out"
    marked.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    seen = OnnxGraph(to_bytes(marked), name="marked").run({"images": images})[name]
    assert largest_activations(model, images)[name] == pytest.approx(np.abs(seen).max(), rel=1e-5)
    assert logits > 0


def test_every_node_and_the_largest_activation_have_a_module_path(tiny_model):
    """What a node only moves, such as the class token of all, is named after what computed it."""
    model = _export(tiny_model)
    assert [node.name for node in model.graph.node if "/" not in node.name] == []
    assert any(node.name == "model/Gather" for node in model.graph.node)
    found = largest_activations(model, model_input(pixels((2, 32, 32, 3)), MEANS, 3))
    assert found
    assert all("/" in name or name == "logits" for name in found)
    assert not any(kind in name for name in found for kind in ("/Gather", "/Transpose", "/Reshape", "/Concat"))


def test_batches(tiny_model):
    images = model_input(pixels((1, 32, 32, 3)), MEANS, 3)
    check_batches(_export(tiny_model), images, BatchRange(min=1, opt=2, max=9))
    fixed = _export(tiny_model, batch=BatchRange(min=4, opt=4, max=4))
    assert fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    check_batches(fixed, images, BatchRange(min=4, opt=4, max=4))
    with pytest.raises((OutOfBoundsError, InputError)):
        check_batches(fixed, images, BatchRange(min=1, opt=2, max=9))


def test_large_maps_are_checked_in_parts(tiny_model, monkeypatch):
    import deepvit.export.graph.proof.batch_check as batch_check

    monkeypatch.setattr(batch_check, "MAX_MAP_BYTES", 0)
    sizes = []
    compare = batch_check._compare
    monkeypatch.setattr(batch_check, "_compare", lambda g, i, s: (sizes.append(s), compare(g, i, s)))
    check_batches(_export(tiny_model), model_input(pixels((1, 32, 32, 3)), MEANS, 3), BatchRange(min=1, opt=2, max=9))
    assert sizes == [[1, 3], [1, 9], [1, 9]]


def test_options_check_themselves():
    with pytest.raises(InputError, match="BF16 needs at least 22"):
        GraphOptions(precision=Precision.BF16, opset=20)
    with pytest.raises(InputError, match="expected 18 to 23"):
        GraphOptions(opset=9)
    assert GraphOptions(target=Target.CPU).spec.qkv is QkvForm.SPLIT
    assert GraphOptions(target=Target.CPU).spec.folds_biases
    assert [GraphOptions(target=t).spec.pads_head_dim for t in (Target.AUTO, Target.ONNX, Target.CPU)] == [
        True,
        False,
        False,
    ]


def test_int8_has_q_k_and_v_apart():
    """So that TensorRT-RTX multiplies them in INT8; with biases, whose means are corrected."""
    forms = {precision: GraphOptions(precision=precision).spec for precision in Precision}
    assert [precision for precision, spec in forms.items() if spec.qkv is QkvForm.SPLIT] == [Precision.INT8]
    assert not any(spec.folds_biases for spec in forms.values())
