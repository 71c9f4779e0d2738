"""The precision gate on layers that are written down here: what each planted difference is called."""

import json

import pytest

from deepvit.export.engine.census import (
    Layer,
    census_of,
    engine_breaches,
    layers_from_inspector,
    network_breaches,
    require_engine,
    require_network,
)
from deepvit.runtime.artifact import open_artifact
from deepvit.runtime.errors import InputError, OutOfBoundsError
from deepvit.runtime.manifest import GraphForm, Precision

GEMM = Layer("blocks.0.attn.qkv/MatMul", "MATRIX_MULTIPLY", ("HALF", "HALF"), ("HALF",), ("NORMALIZATION", "CONSTANT"))
CONV = Layer("patch_embed.proj/Conv", "CONVOLUTION", ("HALF",), ("HALF",), ("CAST",))
SOFTMAX = Layer("blocks.0.attn/Softmax", "SOFTMAX", ("FLOAT",), ("FLOAT",), ("CAST",))
SHAPE = Layer("blocks.0/Mul", "ELEMENTWISE", ("INT64", "INT64"), ("INT64",), ("SHAPE", "CONSTANT"))
QUANTIZED = Layer("blocks.0.mlp.fc1/MatMul", "MATRIX_MULTIPLY", ("HALF", "HALF"), ("HALF",), ("DEQUANTIZE",) * 2)
NETWORK = [CONV, GEMM, SOFTMAX, SHAPE]


@pytest.fixture
def manifest(tiny_artifact):
    """A manifest that promises one product and one convolution in FP16, or what is given."""
    base = open_artifact(tiny_artifact).manifest

    def make(precision=Precision.FP16, **counts):
        graph = base.graph.model_copy(update={"gemms": 1, "convolutions": 1} | counts)
        return base.model_copy(update={"precision": precision, "graph": graph})

    return make


def _as(layer, kind):
    return Layer(layer.name, layer.kind, (kind,) * len(layer.inputs), (kind,), layer.sources)


def test_what_was_promised_passes(manifest):
    assert network_breaches(NETWORK, manifest()) == []
    assert network_breaches([_as(CONV, "BF16"), _as(GEMM, "BF16"), SOFTMAX], manifest(Precision.BF16)) == []
    assert network_breaches([_as(CONV, "FLOAT"), _as(GEMM, "FLOAT"), SOFTMAX], manifest(Precision.FP32)) == []
    assert network_breaches([CONV, GEMM, QUANTIZED], manifest(Precision.INT8, gemms=2, quantized_gemms=1)) == []


@pytest.mark.parametrize(
    ("layers", "precision", "counts", "says"),
    [
        ([CONV, _as(GEMM, "FLOAT")], Precision.FP16, {}, r"blocks.0.attn.qkv/MatMul \(MATRIX_MULTIPLY\) computes in FLOAT, expected HALF"),
        ([CONV, GEMM], Precision.BF16, {}, "computes in HALF, expected BF16"),
        ([CONV, GEMM, _as(SOFTMAX, "BF16")], Precision.BF16, {}, r"Softmax \(SOFTMAX\) computes in BF16, expected FLOAT"),
        ([CONV, GEMM, _as(SOFTMAX, "FP8")], Precision.FP8, {}, "SOFTMAX.* computes in FP8"),
        ([CONV], Precision.FP16, {}, "0 MATRIX_MULTIPLY layers, promised 1"),
        ([GEMM], Precision.FP16, {}, "0 CONVOLUTION layers, promised 1"),
        ([CONV, QUANTIZED], Precision.FP16, {}, "1 quantised GEMMs, promised 0"),
        ([CONV, GEMM], Precision.INT8, {"quantized_gemms": 1}, "0 quantised GEMMs, promised 1"),
        ([CONV, GEMM] + [_as(GEMM, "FLOAT")] * 30, Precision.FP16, {"gemms": 31}, "and 22 more"),
    ],
)  # fmt: skip
def test_what_was_not_promised_is_named(manifest, layers, precision, counts, says):
    with pytest.raises(OutOfBoundsError, match=says):
        require_network(layers, manifest(precision, **counts))


def test_a_manifest_that_promises_nothing(manifest):
    old = manifest()
    with pytest.raises(InputError, match="does not say how many gemms"):
        require_network(NETWORK, old.model_copy(update={"graph": GraphForm()}))


def inspected(*layers):
    """The inspector's JSON of layers (name, metadata, input types, output types, tactic)."""
    records = [
        {
            "Name": name, "LayerType": "gemm", "TacticName": tactic, "Metadata": metadata,
            "Inputs": [{"Name": "x", "Dimensions": [1], "Format/Datatype": text} for text in inputs],
            "Outputs": [{"Name": "y", "Dimensions": [1], "Format/Datatype": text} for text in outputs],
        }
        for name, metadata, inputs, outputs, tactic in layers
    ]  # fmt: skip
    return json.dumps({"Layers": records, "Bindings": ["images", "logits"]})


FUSED = "[ONNX Layer: blocks.0.attn.qkv/MatMul]\x1e[ONNX Layer: blocks.0.attn.qkv/Add]"
PATCH = "[ONNX Layer: patch_embed.proj/Conv]"


def test_an_engine_that_holds_to_its_network(manifest):
    text = inspected(
        ("__myl_Conv_0", PATCH, ["Row major linear FP32"], ["Channel major FP16 format where channel % 8 == 0"], ""),
        ("__myl_Fc_1", FUSED, ["Half", "Half"], ["Half"], "sm89_xmma_gemm_f16f16_f16f32_f16_tn_n_tilesize128x64"),
        ("__myl_Sofmax", "[ONNX Layer: blocks.0.attn/Softmax]", ["Half"], ["Float"], ""),
    )
    layers = layers_from_inspector(text)
    assert engine_breaches(layers, NETWORK, manifest()) == []
    census = census_of(NETWORK, layers)
    assert census.gemms_attributed == 2
    assert census.engine == {"gemm FLOAT": 1, "gemm HALF": 2}


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (("a", FUSED, ["Float", "Float"], ["Float"], ""), "blocks.0.attn.qkv/MatMul computes in FLOAT, expected HALF"),
        (("a", FUSED, ["Row major linear FP32"], ["Row major linear FP32 format"], ""), "computes in FLOAT"),
        (("a", FUSED, ["Half"], ["Half"], "sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n"), "computes in FLOAT"),
        (("blocks.0.attn.qkv/MatMul", "", ["Float"], ["Float"], ""), "computes in FLOAT"),
    ],
)
def test_an_engine_that_came_out_in_fp32_is_named(manifest, layer, says):
    with pytest.raises(OutOfBoundsError, match=says):
        require_engine(layers_from_inspector(inspected(layer)), NETWORK, manifest())


def test_an_engine_that_dropped_its_quantization_is_named(manifest):
    network, promised = [QUANTIZED], manifest(Precision.INT8, gemms=1, convolutions=0, quantized_gemms=1)
    fused = "[ONNX Layer: blocks.0.mlp.fc1/MatMul]"
    held = layers_from_inspector(inspected(("a", fused, ["Int8", "Int8"], ["Half"], "")))
    assert engine_breaches(held, network, promised) == []
    dropped = layers_from_inspector(inspected(("a", fused, ["Half", "Half"], ["Half"], "")))
    assert "blocks.0.mlp.fc1/MatMul reads HALF, expected INT8" in engine_breaches(dropped, network, promised)[0]


def test_the_types_of_tensorrt_11_stand_beside_the_format():
    text = '{"Layers": [{"Name": "a", "LayerType": "gemm", "Inputs": [{"Name": "x", "Format": "kLINEAR", "Datatype": "BFloat16"}]}]}'
    assert layers_from_inspector(text)[0].inputs == ("BF16",)


def test_what_is_no_inspectors_json():
    assert layers_from_inspector('{"Layers": ["only a name"]}')[0].inputs == ()
    for text in ("", "[]", "{}", "null", "engine"):
        with pytest.raises(InputError, match="no JSON with Layers"):
            layers_from_inspector(text)
