"""The precision gate on layers that are written down here: what each planted difference is called."""

import pytest

from deepvit.export.engine.census import (
    Layer,
    network_breaches,
    require_network,
)
from deepvit.runtime.artifact import open_artifact
from deepvit.runtime.artifact.manifest import GraphForm, Precision
from deepvit.runtime.errors import InputError, OutOfBoundsError

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
