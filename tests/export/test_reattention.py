"""Fused re-attention in the graph: one operator a block, with a body that gives what separate operators give."""

import contextlib
import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import deepvit.model
from deepvit.calibration.options import QuantizationOptions
from deepvit.calibration.padded_tokens import real_tokens
from deepvit.calibration.policy import activations_of, find_products
from deepvit.calibration.quantize import count_quantized, quantize_graph
from deepvit.calibration.ranges import Ranges, TensorRange
from deepvit.export.engine.building.process import build_engine
from deepvit.export.engine.building.worker import Job
from deepvit.export.engine.census import census_of, engine_breaches, network_breaches, require_network
from deepvit.export.engine.choice import choose_engines
from deepvit.export.engine.listing.compile import compile_kernels, graph_of
from deepvit.export.engine.listing.flops import flops_by_type, products_of
from deepvit.export.engine.listing.traffic import PLUGIN_LAYER
from deepvit.export.engine.options import EngineOptions
from deepvit.export.graph.cast import cast_graph
from deepvit.export.graph.float32 import float32_graph, prove_fused
from deepvit.export.graph.onnx_file import finish, to_bytes
from deepvit.export.graph.proof.logits import graph_logits
from deepvit.export.graph.reattention import channels, fuse, operator
from deepvit.export.graph.reattention.channels import Mix, take_over
from deepvit.export.graph.reattention.fuse import fuse_reattention
from deepvit.export.graph.reattention.operator import add_operator, nodes_of, reattention_node, traffic_bytes
from deepvit.export.graph.spec import Outputs
from deepvit.export.options import ExportOptions, GraphOptions, Reattention, Target
from deepvit.export.pipeline import export_artifact
from deepvit.export.plan import plan_export, shape_of
from deepvit.measure.results.kernels import describe_kernels, kernels_from
from deepvit.metrics.distance import compare_logits
from deepvit.model.architecture import Stem
from deepvit.model.load import LoadedModel
from deepvit.model.weights.random import randomize
from deepvit.progress import log_step
from deepvit.runtime.artifact import open_artifact
from deepvit.runtime.artifact.manifest import (
    ANY_BATCH,
    Backend,
    ChooseForm,
    Grid,
    MixForm,
    Precision,
    QkvForm,
    ReattentionForm,
    Split,
    Weights,
)
from deepvit.runtime.errors import InputError, MissingError, OutOfBoundsError
from deepvit.runtime.opening import open_session
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.graph import OnnxGraph
from deepvit.runtime.trt.machine import this_machine
from tests.doubles.tiny_models import TINY, pixels, replace
from tests.places import ROOT

FUSED = ReattentionForm.FUSED
GRAPH = GraphOptions(reattention=Reattention.FUSED, target=Target.ONNX, pad_tokens=True)
FLOAT32_BOUND, HALF_BOUND = 1e-6, 5e-3  # relative, of a sum of some products
IN_PLACE = "with a layer in the plugin's place that cannot run"
RTX = EngineOptions(backend=Backend.TENSORRT_RTX, compute_capabilities=("8.9",))


@pytest.fixture(scope="module")
def loaded():
    """Three blocks of three heads: the first mixes nothing, the second mixes, the last mixes for the class token alone."""
    variant = replace(TINY[Stem.PATCH], depth=3, reattention_blocks=2, num_heads=3)
    model = randomize(deepvit.model.create_deepvit(variant))
    return LoadedModel(variant=variant, module=model, weights=Weights(source="random", sha256="0" * 64, seed=0))


@pytest.fixture(scope="module")
def source(loaded):
    return float32_graph(loaded, GRAPH.spec, pixels((3, 32, 32, 3)), log_step)


@pytest.fixture(scope="module")
def artifact(loaded, tmp_path_factory):
    output = tmp_path_factory.mktemp("fused") / "a"
    return export_artifact(loaded, ExportOptions(graph=GRAPH, output=output, parity_images=2))


@pytest.fixture(scope="module")
def built(artifact):
    """What TensorRT-RTX makes of the file, to which no plugin is known."""
    job = Job(options=RTX, batch=ANY_BATCH, timing_cache=None, is_run=False)
    return build_engine(artifact.read("model.onnx"), job, None, lambda phase, share: None, lambda layers: None)


def test_each_block_that_mixes_has_one_node(source):
    fused = fuse_reattention(source.model)
    nodes = nodes_of(fused.graph)
    assert [node.name for node in nodes] == [f"blocks.{block}.attn/ReAttention" for block in (1, 2)]
    assert [sum(node.op_type == kind for node in fused.graph.node) for kind in ("Softmax", "MatMul")] == [1, 4 * 3 + 2]
    for node, queries in zip(nodes, (24, 1), strict=True):
        said = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        plugin = {"plugin_namespace": b"deepvit", "plugin_version": b"1"}
        assert said == {"scale": 1.0, "tokens": 17, "queries": queries, **plugin}
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim][1:] for v in fused.graph.value_info}
    assert [shapes[name] for name in (nodes[0].input[0], *(node.output[0] for node in nodes))] == [
        [24, 3, 3, 8], [24, 24], [1, 24]
    ]  # fmt: skip
    before = {value.name for value in source.model.graph.value_info}
    assert {node.input[0] for node in fused.graph.node if node.op_type == "MatMul"} <= before  # ranges fit
    assert real_tokens(fused.graph) == real_tokens(source.model.graph) == 17
    del fused.graph.initializer[:]  # and with them the mask of the block that does not mix
    assert real_tokens(fused.graph) == 17


def _constant(model, name):
    (found,) = (each for each in model.graph.initializer if each.name == name)
    return numpy_helper.to_array(found)


def _quantized(source, grid, float_units=frozenset()):
    """The float32 graph with quantised linears, whose corrected biases have parts of k and v too."""
    model = onnx.load_from_string(source.model.SerializeToString())
    if grid is Grid.FP8:
        model.opset_import[0].version = 21
    tensors = activations_of(find_products(model))
    one = TensorRange(low=-1, high=1, minimum=-1, maximum=1, quantiles={})
    widths = {v.name: v.type.tensor_type.shape.dim[-1].dim_value for v in model.graph.value_info}
    random = np.random.default_rng(3)
    ranges = Ranges(
        graph_sha256="0" * 64, grid=grid, method="max", images=1, list_sha256="0" * 64, split=Split.BUNDLED, seed=0,
        attention=False, rescalings={}, tensors=dict.fromkeys(tensors, one),
        means={name: tuple(10 * random.standard_normal(widths[name])) for name in tensors},
    )  # fmt: skip
    return finish(quantize_graph(model, ranges, float_units))


def test_a_linear_in_float_stays_as_it_is(source):
    fused = fuse_reattention(source.model)
    for block, node in zip((1, 2), nodes_of(fused.graph), strict=True):
        assert np.array_equal(_constant(fused, node.input[3])[:, 0, 0], [1, 0, 1])
        assert np.ptp(_constant(fused, node.input[3]), axis=(1, 2)).max() == 0
        name = f"blocks.{block}.attn.qkv.bias"
        assert np.array_equal(_constant(fused, name), _constant(source.model, name))


@pytest.fixture(scope="module", params=[Grid.INT8, Grid.FP8], ids=lambda grid: grid.value)
def quantized(source, request):
    """A graph whose qkv linears alone are quantised: behind others, rounding would tell the slightest difference."""
    others = {product.unit for product in find_products(source.model) if not product.unit.endswith(".qkv")}
    model = _quantized(source, request.param, frozenset(others))
    bias = _constant(model, "blocks.1.attn.qkv.bias").reshape(3, 3, 8)
    assert np.abs(bias[1:, :, :6]).min() > 0
    return dataclasses.replace(source, model=model, logits=graph_logits(model, source.images, "quantised"))


def test_a_linear_in_eight_bits_is_a_product_alone(quantized):
    assert prove_fused(quantized).stages[-1].max_abs <= 1e-5
    fused = fuse_reattention(quantized.model)
    added = {node.name for node in fused.graph.node if node.op_type == "Add" and ".qkv/" in node.name}
    assert added == {"blocks.0.attn.qkv/Add"}  # which mixes nothing
    for block, node in zip((1, 2), nodes_of(fused.graph), strict=True):
        assert _constant(fused, f"blocks.{block}.attn.qkv.weight_transposed.scale").shape == ()
        assert not _constant(fused, node.input[3])[1, :, 6:].any()  # columns that fill up the heads


CHANNEL_FAULTS = {
    "sums of maps without b'": (Mix, "row_sums", property(lambda mix: mix.theta.sum(1))),
    "channels of other heads": (fuse, "take_over", lambda *given: take_over(*given)[:, ::-1]),
    "another step": (channels, "_level_steps", lambda _constants, _weight, width: np.full(3 * width, 0.5)),
}


@pytest.mark.parametrize(("place", "name", "fault"), CHANNEL_FAULTS.values(), ids=CHANNEL_FAULTS)
def test_what_is_taken_over_wrongly_is_refused(quantized, monkeypatch, place, name, fault):
    monkeypatch.setattr(place, name, fault)
    with pytest.raises(OutOfBoundsError, match="parity of onnx-fp32-fused"):
        prove_fused(quantized)


def _renamed(model, old, new):
    changed = onnx.load_from_string(model.SerializeToString().replace(old.encode(), new.encode()))
    assert changed != model
    return changed


def test_graphs_of_other_forms_are_refused(source):
    with pytest.raises(ValueError, match="no block mixes its maps"):
        fuse_reattention(_renamed(source.model, "mix_weight", "mix_kernel"))
    with pytest.raises(ValueError, match=r"block 1 mixes its maps, and not as"):
        fuse_reattention(_renamed(source.model, "mix_bias", "mix_rest"))
    with pytest.raises(ValueError, match=r"blocks.0.attn.proj/MatMul: .* one qkv linear alone"):
        fuse_reattention(_renamed(source.model, "attn.qkv/", "attn.all/"))
    averaged = onnx.load_from_string(source.model.SerializeToString())
    next(node for node in averaged.graph.node if node.name == "blocks.2.attn/Softmax").op_type = "ReduceMean"
    with pytest.raises(ValueError, match=r"blocks.2.attn/Softmax: b' is added behind the values"):
        fuse_reattention(averaged)
    read_elsewhere = onnx.load_from_string(source.model.SerializeToString())
    read_elsewhere.graph.node.append(helper.make_node("Identity", ["blocks.1.attn/Softmax.out"], ["maps"]))
    with pytest.raises(ValueError, match=r"blocks.1.attn.proj/MatMul: .* one qkv linear alone"):
        fuse_reattention(read_elsewhere)


def test_the_body_gives_what_separate_operators_give(source):
    proved = prove_fused(source)
    (rung,) = proved.stages[len(source.stages) :]
    assert (rung.stage, rung.against, rung.images) == ("onnx-fp32-fused", "onnx-fp32", 3)
    assert rung.max_abs <= 1e-6


def _edited(kind, output, **changes):
    """Return the body with one of its nodes changed."""
    body = operator.body

    def planted(opset):
        function = body(opset)
        (node,) = [node for node in function.node if node.op_type == kind and output in node.output]
        node.op_type = changes.get("op_type", node.op_type)
        inputs = changes.get("inputs", list(node.input))
        del node.input[:]
        node.input.extend(inputs)
        function.node.insert(0, helper.make_node("Transpose", ["theta"], ["theta_transposed"]))
        return function

    return planted


FAULTS = {
    "Θ' transposed": ("body", _edited("CastLike", "theta_t", inputs=["theta_transposed", "qkv"])),
    "no bias": ("body", _edited("Add", "biased", op_type="Identity", inputs=["mixed"])),
    "q scaled by another factor": ("body", _edited("Mul", "q_scaled", inputs=["q_asked", "q_added"])),
    "nothing of the output": ("body", _edited("Mul", "rows", inputs=["heads_of_rows", "q_added"])),
    "no mix": ("body", _edited("MatMul", "flat_mixed", op_type="Identity", inputs=["flat"])),
    "a padded key": ("tokens", 1),
    "a key too few": ("tokens", -1),
}


@pytest.mark.parametrize(("place", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_refused_by_its_rung(source, monkeypatch, place, fault):
    if place == "body":
        monkeypatch.setattr(operator, "body", fault)
    else:
        monkeypatch.setattr(
            fuse,
            "reattention_node",
            lambda *args, tokens, **rest: reattention_node(*args, tokens=tokens + fault, **rest),
        )
    with pytest.raises(OutOfBoundsError, match="parity of onnx-fp32-fused against onnx-fp32 on 3 images: max abs"):
        prove_fused(source)


def _one_node(kind, scale=0.3, tokens=9, queries=10, opset=20):
    """A model of one node that takes `kind`: qkv (2, 11, 3, 3, 8) to (2, 10, 24), and Θ', b' and channels as it has them."""
    random = np.random.default_rng(0)
    wide = {"theta": (3, 3), "bias": (3,), "channels": (3, 3, 8)}
    wide = {name: random.standard_normal(shape).astype(np.float32) for name, shape in wide.items()}
    shapes = {"qkv": [2, 11, 3, 3, 8], "out": [2, queries, 24]}
    qkv, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    nodes = [
        helper.make_node("Cast", ["qkv"], ["typed"], to=kind),
        reattention_node("node", ["typed", *wide], "typed_out", scale=scale, tokens=tokens, queries=queries),
        helper.make_node("Cast", ["typed_out"], ["out"], to=TensorProto.FLOAT),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in wide.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "one", [qkv], [out], constants), opset_imports=[helper.make_opsetid("", opset)]
    )
    add_operator(model)
    return finish(model), wide


def _exact(qkv, theta, bias, channels, scale=0.3, tokens=9, queries=10):
    q, k, v = np.moveaxis(qkv.astype(np.float64), 2, 0).swapaxes(2, 3)
    factor, added, out_factor = channels
    q = q[:, :, :queries] * factor[:, None] + added[:, None]
    k, v = k[:, :, :tokens], v[:, :, :tokens]
    scores = np.exp(scale * q @ k.swapaxes(2, 3))
    maps = scores / scores.sum(axis=-1, keepdims=True)
    mixed = np.einsum("gh,bhqk->bgqk", theta, maps) + bias[:, None, None]
    return ((mixed @ v).swapaxes(1, 2) * out_factor).reshape(len(qkv), queries, -1)


QKV = np.random.default_rng(1).standard_normal((2, 11, 3, 3, 8)).astype(np.float32)


@pytest.mark.parametrize("opset", [18, 20, 23])
def test_the_body_is_the_definition(opset):
    model, wide = _one_node(TensorProto.FLOAT, opset=opset)
    got = OnnxGraph(to_bytes(model), name="one node").run({"qkv": QKV})["out"]
    exact = _exact(QKV, **wide)
    assert np.abs(got - exact).max() <= FLOAT32_BOUND * np.abs(exact).max()


def test_as_declared_only_the_output_is_rounded():
    """So much the operator declares; its body alone, in FP16, rounds maps and scores too."""
    model, wide = _one_node(TensorProto.FLOAT16)
    half = QKV.astype(np.float16)
    exact = _exact(half, **wide)
    declared = OnnxGraph(to_bytes(model), name="one node", arithmetic=Arithmetic.AS_DECLARED)
    assert declared.is_rounded
    got = declared.run({"qkv": QKV})["out"]
    assert np.array_equal(got, got.astype(np.float16))
    last_place = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
    assert (np.abs(got - exact) <= 0.5 * last_place + FLOAT32_BOUND * np.abs(exact).max()).all()
    body = OnnxGraph(to_bytes(model), name="one node").run({"qkv": QKV})["out"]
    assert np.abs(body - exact).max() <= HALF_BOUND * np.abs(exact).max()


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16], ids=lambda precision: precision.value)
def test_only_what_the_node_reads_in_float32_stays_so(source, precision):
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    if precision is Precision.BF16:
        model.opset_import[0].version = 22
    typed = cast_graph(fuse_reattention(model), precision)
    types = {v.name: v.type.tensor_type.elem_type for v in typed.graph.value_info}
    reduced = TensorProto.FLOAT16 if precision is Precision.FP16 else TensorProto.BFLOAT16
    for node in nodes_of(typed.graph):
        assert {types[node.input[0]], types[node.output[0]]} == {reduced}
    wide = {each.name for each in typed.graph.initializer if each.data_type == TensorProto.FLOAT}
    assert wide == {
        f"blocks.{block}.attn.{name}" for block in (1, 2) for name in ("mix_weight", "mix_bias", "channels")
    }


@pytest.mark.parametrize("grid", [Grid.INT8, Grid.FP8], ids=lambda grid: grid.value)
def test_linears_around_it_stay_quantised(source, grid):
    typed = cast_graph(fuse_reattention(_quantized(source, grid)), Precision.FP16)
    assert count_quantized(typed) == 4 * 3
    quantised = {node.input[0] for node in typed.graph.node if node.op_type == "QuantizeLinear"}
    assert {node.output[0] for node in nodes_of(typed.graph)} < quantised  # for their projections
    assert len(quantised) == 4 * 3


def test_an_artifact_says_it_and_answers_as_the_unfused_one(loaded, artifact, tmp_path):
    manifest = artifact.manifest
    assert (manifest.graph.reattention, manifest.graph.mix, manifest.graph.padded_tokens) == (FUSED, MixForm.MATMUL, 24)
    assert manifest.graph.gemms == 4 * 3 + 2 + 1  # the linears, the first block's attention, the head
    assert [rung.stage for rung in manifest.parity][-2:] == ["onnx-fp32-fused", "onnx-fp16"]
    assert manifest.plain.wrong == manifest.plain.refused == ()
    graph = dataclasses.replace(GRAPH, reattention=Reattention.UNFUSED)
    unfused = export_artifact(loaded, ExportOptions(graph=graph, output=tmp_path / "a", parity_images=2))
    assert unfused.manifest.graph.reattention is None
    golden = [np.array([each.manifest.golden.logits]) for each in (artifact, unfused)]
    assert compare_logits("fused", "unfused", *golden).sqnr_db >= manifest.golden.sqnr_db
    images = manifest.golden_input
    for provider in ("cpu", "openvino"):  # by the body
        with contextlib.closing(open_session(artifact.folder, provider)) as session:
            by_body = session.run(images)
        assert compare_logits("body", "operator", by_body, golden[0]).sqnr_db >= manifest.golden.sqnr_db


REFUSED = {
    "fp32": ({"precision": Precision.FP32}, "the kernel takes FP16 and BF16"),
    "cpu": ({"target": Target.CPU}, "is for NVIDIA GPUs; with ‹target› cpu"),
    "mix": ({"mix": MixForm.CONV}, "‹mix› and ‹qkv› split are for unfused"),
    "split": ({"qkv": QkvForm.SPLIT}, "‹mix› and ‹qkv› split are for unfused"),
    "choose": (
        {"target": Target.AUTO, "choose_form": ChooseForm.LISTING},
        "‹choose_form› has nothing to choose where ‹reattention› is fused",
    ),
    "maps": ({"outputs": Outputs.MAPS, "pad_tokens": None}, "never has whole maps; with ‹attention_maps›"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_fused_is_not_for_is_refused_by_name(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(GRAPH, **changes)


def test_attention_cannot_be_quantised_where_it_is_fused():
    graph = dataclasses.replace(GRAPH, precision=Precision.FP8)
    with pytest.raises(InputError, match="‹quantize_attention›: fused re-attention has no products"):
        ExportOptions(graph=graph, quantization=QuantizationOptions(attention=True))


def test_int8_has_one_product_for_qkv_where_it_is_fused():
    graph = dataclasses.replace(GRAPH, precision=Precision.INT8)
    assert graph.spec.qkv is QkvForm.FUSED
    assert dataclasses.replace(graph, reattention=Reattention.UNFUSED).spec.qkv is QkvForm.SPLIT


@pytest.mark.parametrize(
    ("architecture", "graph", "message"),
    [
        ({"reattention_blocks": 0}, {}, "does not mix its maps"),
        ({}, {"pad_head_dim": False}, "no kernel for .*: head width 6, expected 8"),
        ({"num_heads": 18}, {}, "no kernel for .*: 18 heads, expected 1 to 16"),
    ],
)
def test_a_model_without_a_kernel_is_refused_before_it_is_exported(loaded, tmp_path, architecture, graph, message):
    options = ExportOptions(graph=dataclasses.replace(GRAPH, **graph), output=tmp_path / "a")
    shape = dataclasses.replace(shape_of(loaded), variant=replace(loaded.variant, **architecture))
    with pytest.raises(InputError, match=message):
        plan_export(shape, options)


def test_tensorrts_own_parser_and_builder_take_the_file_by_its_body(artifact, built):
    network = built.network
    assert not any(layer.kind.startswith("PLUGIN") for layer in network)
    assert sum(layer.kind == "SOFTMAX" for layer in network) == 3
    assert len(built.plan) > 10_000
    census = census_of(network, built.layers())
    # Those of a body have no names in the file that the engine's layers could tell them by.
    assert census.gemms_attributed == artifact.manifest.graph.gemms + artifact.manifest.graph.convolutions


def test_an_engine_of_the_body_is_not_what_was_promised(artifact, built):
    with pytest.raises(MissingError, match=r"no plugin is loaded that takes deepvit::ReAttention.*load the plugin"):
        require_network(built.network, artifact.manifest)


def test_with_the_plugin_the_gate_holds_what_is_left(artifact):
    """As the parser makes a layer of each node; what stands in for the plugin's computes nothing."""
    job = Job(options=RTX, batch=ANY_BATCH, timing_cache=None, is_run=False, has_stand_in=True)
    content, manifest = artifact.read("model.onnx"), artifact.manifest
    built = build_engine(content, job, None, lambda phase, share: None, lambda layers: None)
    require_network(built.network, manifest)
    assert engine_breaches(built.layers(), built.network, manifest) == []
    census = census_of(built.network, built.layers())
    assert census.network["PLUGIN_V3 HALF"] == 2
    assert census.gemms_attributed == manifest.graph.gemms + manifest.graph.convolutions
    wide = [dataclasses.replace(each, outputs=("FLOAT",)) for each in built.network if each.kind == "PLUGIN_V3"]
    assert network_breaches([*wide, *(x for x in built.network if x.kind != "PLUGIN_V3")], manifest) == [
        f"blocks.{block}.attn/ReAttention (PLUGIN_V3) computes in FLOAT, expected HALF" for block in (1, 2)
    ]


def test_an_export_for_any_engine_says_that_it_needs_the_plugin(monkeypatch):
    monkeypatch.delenv("DEEPVIT_PLUGIN", raising=False)
    choice = choose_engines(Target.AUTO, (), this_machine(), FUSED)
    assert choice.build == ()
    assert "fused re-attention needs its plugin where an engine is built" in choice.describe(open_artifact)
    monkeypatch.setenv("DEEPVIT_PLUGIN", "plugin.so")
    assert "plugin" not in choose_engines(Target.AUTO, (), this_machine(), FUSED).describe(open_artifact)


def test_a_listing_has_the_node_as_it_is_defined(artifact):
    graph, batch = graph_of(artifact), 4
    compiled = compile_kernels(graph, batch, "8.9", lambda phase, share: None)
    stored, heads, width = 24, 3, 8
    shape, queries = (batch, stored, 3, heads, width), (24, 1)
    fused = [kernel for kernel in compiled.kernels if kernel.kind == PLUGIN_LAYER]
    assert [kernel.onnx for kernel in fused] == [(f"blocks.{block}.attn/ReAttention",) for block in (1, 2)]
    assert [kernel.bytes for kernel in fused] == [traffic_bytes(shape, each) for each in queries]
    products = products_of(graph.content, batch)
    named = {product.name: product.flops for product in products}
    assert named["blocks.1.attn/ReAttention"] == 2 * batch * heads * stored * 17 * (width + heads + width)
    assert named["blocks.2.attn/ReAttention"] == named["blocks.1.attn/ReAttention"] / stored
    flops, found = flops_by_type(products, compiled.kernels)
    assert (set(flops), found) == ({"fp16"}, len(products))
    assert f"of them fused re-attention, {IN_PLACE}: 2, 0.0 MB" in "".join(
        line for line in describe_kernels(kernels_from(compiled)) if isinstance(line, str)
    )


def test_products_of_a_file_that_does_not_declare_its_shapes_are_not_counted(artifact):
    model = onnx.load_from_string(artifact.read("model.onnx"))
    del model.graph.value_info[:]
    with pytest.raises(InputError, match="its shapes do not follow from the graph's input"):
        products_of(to_bytes(model), 1)


def test_what_was_listed_holds_the_bound():
    """Of deepvit_32; compiling it takes longer than a test may."""
    listed = json.loads((ROOT / "benchmarks/results/reattention-listing.json").read_text())
    row = listed["variants"]["deepvit_32"]["fp16"]
    assert (listed["batch"], row["fused"], row["breaches"]) == (32, 32, [])
    assert row["mb_per_image"] <= 180
    whole, last = (traffic_bytes((32, 200, 3, 12, 32), queries) / 32 for queries in (200, 1))
    assert row["fused_mb_per_image"] == pytest.approx((31 * whole + last) / 1e6, rel=1e-4)
