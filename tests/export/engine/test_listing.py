"""The layers of finished engines: read as the inspector and the log tell them, and held against the network by product."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from deepvit.export.engine.add import _hold
from deepvit.export.engine.building.process import build_engine
from deepvit.export.engine.building.worker import Job
from deepvit.export.engine.census import (
    Layer,
    census_of,
    dequantized_products,
    engine_breaches,
    require_engine,
)
from deepvit.export.engine.layers import EngineLayer, Tensor, layers_from_inspector, layers_from_listing
from deepvit.export.engine.options import EngineOptions
from deepvit.export.options import ExportOptions, GraphOptions
from deepvit.export.pipeline import export_artifact
from deepvit.runtime.artifact import open_artifact
from deepvit.runtime.artifact.manifest import ANY_BATCH, Backend, Precision
from deepvit.runtime.errors import InputError, OutOfBoundsError
from tests.rig.inspector import inspector_json

RTX = EngineOptions(backend=Backend.TENSORRT_RTX, compute_capabilities=("8.9",))
FC1 = "blocks.0.mlp.fc1/MatMul"
QUANTISED = [(Precision.INT8, "INT8"), (Precision.FP8, "FP8")]
by_precision = pytest.mark.parametrize(("precision", "word"), QUANTISED, ids=[word for _, word in QUANTISED])


def build(content):
    job = Job(options=RTX, batch=ANY_BATCH, timing_cache=None, is_run=False)
    return build_engine(content, job, None, lambda phase, share: None, lambda layers: None)


@pytest.fixture(scope="module")
def engine_of(tiny_loaded, tiny_artifact, tmp_path_factory):
    """For a precision: the manifest, the network and the layers of the engine that TensorRT-RTX builds of it."""
    made = {}

    def make(precision):
        if precision not in made:
            folder = tiny_artifact
            if precision is not Precision.FP16:
                folder = tmp_path_factory.mktemp(precision.value) / "a"
                export_artifact(tiny_loaded, ExportOptions(graph=GraphOptions(precision=precision), output=folder))
            artifact = open_artifact(folder)
            built = build(artifact.read("model.onnx"))
            made[precision] = artifact.manifest, built.network, layers_from_listing(built.listing)
        return made[precision]

    return make


def _retyped(layers, old, new, parts=("inputs", "constants")):
    """The layers with another type for those tensors that they read in type `old`."""

    def of(tensors):
        return tuple(dataclasses.replace(t, type=new) if t.type == old else t for t in tensors)

    return [dataclasses.replace(layer, **{part: of(getattr(layer, part)) for part in parts}) for layer in layers]


def _without_name(layers, name):
    return [dataclasses.replace(layer, onnx=tuple(other for other in layer.onnx if other != name)) for layer in layers]


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16, Precision.INT8, Precision.FP8], ids=str)
def test_what_the_compiler_makes_of_our_graphs_is_what_was_promised(engine_of, precision):
    manifest, network, layers = engine_of(precision)
    assert engine_breaches(layers, network, manifest) == []
    census = census_of(network, layers)
    assert census.gemms_attributed == manifest.graph.gemms + manifest.graph.convolutions
    assert sum(census.engine.values()) == len(layers)


@pytest.mark.parametrize("parts", [("inputs", "constants"), ("inputs",)], ids=["all", "activations"])
@by_precision
def test_every_gemm_whose_eight_bits_are_taken_away_is_named(engine_of, precision, word, parts):
    """Weights alone in eight bits are not what was promised."""
    manifest, network, layers = engine_of(precision)
    faults = engine_breaches(_retyped(layers, word, "HALF", parts), network, manifest)
    quantised = [layer.name for layer in network if layer.is_product and layer.is_quantized]
    assert len(quantised) == manifest.graph.quantized_gemms == (12 if precision is Precision.INT8 else 8)
    assert faults == [f"{name} reads HALF, expected {word}" for name in quantised]


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8], ids=str)
def test_a_gemm_that_no_layer_names_is_a_breach(engine_of, precision):
    manifest, network, layers = engine_of(precision)
    assert engine_breaches(_without_name(layers, FC1), network, manifest) == [f"{FC1} is in no layer of the engine"]
    unknown = engine_breaches([], network, manifest)
    assert len(unknown) == manifest.graph.gemms + manifest.graph.convolutions


def test_the_engine_of_another_precision_is_refused(engine_of):
    manifest = engine_of(Precision.FP16)[0]
    _, network, layers = engine_of(Precision.FP32)
    with pytest.raises(OutOfBoundsError, match="is not the fp16 model .* reads FLOAT, expected HALF"):
        require_engine(layers, network, manifest)


def test_a_planted_float32_product_is_named(engine_of, tiny_artifact):
    """Casts around a product do not do it: the compiler takes them away. An operation in float32 before it does."""
    manifest = engine_of(Precision.FP16)[0]
    built = build(_with_float32_product(onnx.load(tiny_artifact / "model.onnx")))
    faults = engine_breaches(layers_from_listing(built.listing), built.network, manifest)
    assert faults == [f"{FC1} reads FLOAT, expected HALF"]


def _with_float32_product(model):
    """`model` with the first fc1 in float32, on the sine of what it had."""
    nodes = list(model.graph.node)
    index, node = next((i, n) for i, n in enumerate(nodes) if n.name == FC1)
    weight = next(i for i in model.graph.initializer if i.name == node.input[1])
    wide = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), "wide_weight")
    model.graph.initializer.append(wide)
    before = [
        helper.make_node("Cast", [node.input[0]], ["wide"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Sin", ["wide"], ["sine"], "planted.sine"),
    ]
    after = helper.make_node("Cast", ["product"], [node.output[0]], to=onnx.TensorProto.FLOAT16)
    node.input[:], node.output[0] = ["sine", "wide_weight"], "product"
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend([*nodes[:index], *before, node, after, *nodes[index + 1 :]])
    return model.SerializeToString()


GEMM = Layer(FC1, "MATRIX_MULTIPLY", ("HALF", "HALF"), ("HALF",), ("NORMALIZATION", "CONSTANT"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, None),
        ({"inputs": "FLOAT", "constants": "FLOAT"}, "reads FLOAT, expected HALF"),
        ({"constants": "FLOAT"}, "computes in FLOAT, expected HALF"),  # on a half residual beside it
        ({"inputs": "FLOAT", "constants": None}, "computes in FLOAT, expected HALF"),  # a copy beside it reads half
        ({"tactic": "sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n"}, "computes in FLOAT, expected HALF"),
        ({"onnx": ()}, "is in no layer of the engine"),
    ],
)
def test_a_product_in_float32_is_told_by_what_it_reads_its_weights_and_its_tactic(engine_of, changes, says):
    def tensors(kind, *sides):
        return (Tensor("x", kind, sides),) if kind else ()

    layer = EngineLayer(
        "a", "gemm", tensors(changes.get("inputs", "HALF"), -1, 100), tensors(changes.get("constants", "HALF"), 100, 300),
        tensors("HALF", -1, 300), changes.get("tactic", "sm89_xmma_gemm_f16f16"), changes.get("onnx", (FC1,)),
    )  # fmt: skip
    layers = [layer]
    if not layer.constants:
        layers.append(EngineLayer("copy", "kgen", tensors("HALF", -1, 100), (), tensors("FLOAT", -1, 100), "", (FC1,)))
    manifest = engine_of(Precision.FP16)[0]
    assert engine_breaches(layers, [GEMM], manifest) == ([f"{FC1} {says}"] if says else [])


def test_quantised_products_that_the_compiler_widens_are_said(engine_of, caplog):
    manifest, network, layers = engine_of(Precision.INT8)
    widened = dequantized_products(layers, network, manifest)
    assert FC1 not in widened
    wider = [
        layer if layer.kind != "gemm" else _retyped([layer], "INT8", "HALF", ("constants",))[0] for layer in layers
    ]
    assert FC1 in dequantized_products(wider, network, manifest)
    _hold(wider, network, manifest)
    assert "quantised GEMMs are widened before they are multiplied: blocks.0." in caplog.text


@pytest.mark.parametrize("major", [10, 11])
def test_the_inspector_and_the_log_tell_the_same(engine_of, major):
    _, _, layers = engine_of(Precision.INT8)
    assert layers_from_inspector(inspector_json(layers, major)) == layers


def test_a_line_of_the_log_is_read_whole():
    tensor = "Strides: [676,26,1], StrideOrder: [2,1,0], Datatype: Half, Format: (Linear) Row major linear format }"
    line = (
        f"Layers:\nName: a_myl0_51, LayerType: gemm, Inputs: [ {{ Name: q, Dimensions: [-1,26,26], {tensor}, {{ Name: k, "
        f"Dimensions: [], {tensor}], Constants: [], Outputs: [ {{ Name: y, Dimensions: [2], {tensor}], TacticName: t, "
        f"StreamId: 0, Metadata: [ONNX Layer: b/MatMul][ONNX Layer: b/Add][ONNX Layer: b/MatMul]\n\nI/O Tensors:\n Name: q"
    )
    q, k, y = Tensor("q", "HALF", (-1, 26, 26)), Tensor("k", "HALF", ()), Tensor("y", "HALF", (2,))
    expected = EngineLayer("a_myl0_51", "gemm", (q, k), (), (y,), "t", ("b/MatMul", "b/Add"))
    assert layers_from_listing(line) == [expected]
    with pytest.raises(InputError, match="lists a layer in a form that is not known"):
        layers_from_listing(line.replace("LayerType", "Layer Type"))
    with pytest.raises(InputError, match="lists a tensor in a form that is not known"):
        layers_from_listing(line.replace("Datatype: Half", "Type: Half"))


def test_the_inspectors_other_words():
    record = {
        "Name": "b/Conv + b/Relu", "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", "Dimensions": [1, 3], "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}],
        "Outputs": [{"Name": "y", "Dimensions": [1, 3], "Format": "kLINEAR", "DataType": "UInt8"}],
    }  # fmt: skip
    (layer,) = layers_from_inspector(json.dumps({"Layers": [record]}))
    assert layer.onnx == ("b/Conv", "b/Relu")  # a layer without metadata is named after what it holds
    assert [tensor.type for tensor in (*layer.inputs, *layer.outputs)] == ["INT8", "UINT8"]
    copy = record | {"Name": "Reformatting CopyNode for Input Tensor 0 to b/Conv", "LayerType": "Reformat"}
    assert layers_from_inspector(json.dumps({"Layers": [copy]}))[0].onnx == ()


def test_what_is_no_inspectors_json():
    (layer,) = layers_from_inspector('{"Layers": ["only a name"]}')
    assert (layer.inputs, layer.onnx) == ((), ())
    for text in ("", "[]", "{}", "null", "engine"):
        with pytest.raises(InputError, match="no JSON with Layers"):
            layers_from_inspector(text)


def test_the_weights_of_a_convolution_are_read_as_tensorrt_10_tells_them():
    """A patch convolution may read float32 images itself: then its weights alone tell what it computes in."""
    record = {
        "Name": "embed", "LayerType": "CaskConvolution", "Metadata": "[ONNX Layer: embed]", "Outputs": [],
        "Inputs": [{"Name": "images", "Dimensions": [8, 3, 224, 224], "Format/Datatype": "Row major linear FP32"}],
        "Weights": {"Type": "Half", "Count": 9408}, "Bias": {"Type": "Float", "Count": 64},
    }  # fmt: skip
    for kind, types in (("Half", {"FLOAT", "HALF"}), ("Float", {"FLOAT"})):
        record["Weights"]["Type"] = kind
        (layer,) = layers_from_inspector(json.dumps({"Layers": [record]}))
        assert layer.operand_types == types
        assert layer.activation_types == {"FLOAT"}
