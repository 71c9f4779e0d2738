"""An estimate of the most speed on a GPU that is not here: operations, types, peaks and bounds, counted by hand."""

import collections
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepvit.export.engine.choice import RTX_CAPABILITIES
from deepvit.export.engine.layers import EngineLayer, Tensor
from deepvit.export.engine.listing.estimate import LAUNCH_US, Pace, estimate_of
from deepvit.export.engine.listing.flops import Product, flops_by_type, products_of
from deepvit.export.engine.listing.peaks import GPUS, gpu_from_text
from deepvit.export.engine.listing.traffic import Compiled, Kernel, kernels_of
from deepvit.runtime.errors import InputError

H200 = gpu_from_text("h200")


def compiled(kernels, batch=1):
    return Compiled(version="1.7", compute_capability="8.9", batch=batch, kernels=kernels)


def kernel(*types, onnx=("product",), size=0, kind="gemm"):
    return Kernel("k", kind, size, onnx, types)


def test_the_products_of_deepvit_32(variant_onnx):
    """As exported for TensorRT: 197 tokens in 200 rows, and the last block's queries of the class token alone."""
    batch, rows, width, hidden, heads = 2, 200, 384, 1152, 12
    by_part = collections.Counter()
    for product in products_of(variant_onnx("deepvit_32"), batch):
        by_part[re.sub(r"^blocks\.\d+\.", "", product.name)] += product.flops
    blocks = 31 * rows + 1  # rows of all blocks: of the last one, one
    assert by_part == {
        "patch_embed.proj/Conv": batch * 2 * 196 * (3 * 16 * 16) * width,
        "attn.qkv/MatMul": batch * 2 * 32 * rows * width * (3 * width),  # keys and values are wanted of every token
        "attn/MatMul": batch * 2 * blocks * rows * width,  # queries with keys
        "attn/MatMul_1": batch * 2 * blocks * rows * heads * heads,  # maps mixed among heads
        "attn/MatMul_2": batch * 2 * blocks * rows * width,  # maps with values
        "attn.proj/MatMul": batch * 2 * blocks * width * width,
        "mlp.fc1/MatMul": batch * 2 * blocks * width * hidden,
        "mlp.fc2/MatMul": batch * 2 * blocks * hidden * width,
        "head/Gemm": batch * 2 * width * 1000,
    }
    assert sum(by_part.values()) / batch / 1e9 == pytest.approx(20.842, abs=5e-4)


def graph_of(nodes, weights, shape):
    initializers = [numpy_helper.from_array(np.ones(sides, np.float32), name) for name, sides in weights.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


@pytest.mark.parametrize(
    ("node", "weights", "shape", "flops"),
    [
        (helper.make_node("MatMul", ["x", "w"], ["y"], "m"), {"w": (5, 7)}, (3, 5), 2 * (4 * 3 * 7) * 5),
        (helper.make_node("MatMul", ["w", "x"], ["y"], "m"), {"w": (2, 6, 3)}, (3, 5), None),
        (helper.make_node("MatMul", ["w", "x"], ["y"], "m"), {"w": (6, 3)}, (3, 5), 2 * (4 * 6 * 5) * 3),
        (helper.make_node("Gemm", ["x", "w"], ["y"], "g", transB=1), {"w": (7, 5)}, (5,), 2 * (4 * 7) * 5),
        (helper.make_node("Gemm", ["w", "x"], ["y"], "g", transA=1), {"w": (4, 7)}, (5,), 2 * (7 * 5) * 4),
        (
            helper.make_node("Conv", ["x", "w"], ["y"], "c", group=2, strides=[2, 2]),
            {"w": (8, 3, 2, 2)},
            (6, 10, 12),
            2 * (4 * 8 * 5 * 6) * (3 * 2 * 2),
        ),
    ],
    ids=["matmul", "open", "weight first", "gemm", "gemm transposed", "grouped convolution"],
)
def test_operations_of_a_product(node, weights, shape, flops):
    content = graph_of([node], weights, shape)
    if flops is None:  # two batches that do not match: no shape follows
        with pytest.raises(InputError, match="its shapes do not follow"):
            products_of(content, 4)
    else:
        assert products_of(content, 4) == [Product(node.name, flops)]


@pytest.mark.parametrize(
    ("kernels", "kind"),
    [
        ([kernel("HALF", "HALF")], "fp16"),
        ([kernel("FLOAT", "FLOAT")], "fp32"),
        ([kernel("INT8", "INT8"), kernel("HALF", "HALF", kind="kgen")], "int8"),  # and what scales and adds after it
        ([kernel("FLOAT", "FLOAT"), kernel("HALF", "HALF", kind="kgen")], "fp32"),
        ([kernel("HALF", "FLOAT", "FLOAT", kind="kgen")], "fp16"),  # a norm before it, in the same kernel
        ([kernel("INT8", "HALF")], "fp16"),  # weights widened before
        ([kernel("HALF", "INT8"), kernel("INT8", "HALF")], "fp16"),  # in eight bits each in a kernel of its own
        ([kernel("BF16")], "bf16"),  # the other factor is computed in the kernel
        ([kernel()], None),
        ([kernel("HALF", "HALF", onnx=("another",))], None),
    ],
    ids=[
        "fp16",
        "fp32",
        "int8",
        "fp32 then fp16",
        "norm",
        "widened",
        "never two",
        "one factor",
        "no factor",
        "unnamed",
    ],
)
def test_the_type_that_the_finished_engine_multiplies(kernels, kind):
    found = flops_by_type([Product("product", 10)], kernels)
    assert found == (({}, 0) if kind is None else ({kind: 10}, 1))


def test_scales_and_biases_are_no_factors():
    half, scale, bias = Tensor("x", "HALF", (8, 5)), Tensor("s", "FLOAT", (1,)), Tensor("b", "FLOAT", (1, 5))
    weight = Tensor("w", "HALF", (5, 5))
    layer = EngineLayer("m", "gemm", (half,), (weight, scale, bias), (half,), "", ("product",))
    (made,) = kernels_of([layer], 8)
    assert made.operand_types == ("HALF", "HALF")


# deepvit_32 in FP16 at batch 32: 485 kernels, 348 MB and 20.84 GFLOP an image.
KERNELS = [kernel("HALF", "HALF", size=32 * 348_000_000), *[kernel(onnx=())] * 484]
PRODUCTS = [Product("product", 32 * 20_840_000_000)]


@pytest.mark.parametrize(
    ("name", "bytes_ms", "flops_ms", "images_per_s"),
    [
        # 32 · 348 MB = 11.136 GB, at 4.8, 2.039 and 1.008 TB/s; 32 · 20.84 GFLOP = 666.88, at 989.5, 312 and 165.2 TFLOP/s
        ("h200", 2.32, 0.673957, 13793.1),  # 32 / 2.32 ms
        ("a100", 5.461501, 2.137436, 5859.2),
        ("4090", 11.047619, 4.036804, 2896.55),
    ],
)
def test_an_estimate_by_hand(name, bytes_ms, flops_ms, images_per_s):
    found = estimate_of(compiled(KERNELS, 32), PRODUCTS, gpu_from_text(name))
    assert found.times_ms == pytest.approx(
        {Pace.BYTES: bytes_ms, Pace.FLOPS: flops_ms, Pace.LAUNCHES: 485 * LAUNCH_US / 1e3}, rel=1e-6
    )
    assert (found.pace, found.latency_ms) == (Pace.BYTES, found.times_ms[Pace.BYTES])
    assert found.images_per_s == pytest.approx(images_per_s, rel=1e-4)
    assert (found.flops, found.products, found.products_counted) == ({"fp16": 666_880_000_000}, 1, 1)


@pytest.mark.parametrize(
    ("kernels", "flops", "pace"),
    [
        ([kernel("HALF", "HALF", size=1000)] * 3, 1000, Pace.LAUNCHES),
        ([kernel("HALF", "HALF", size=10**9)], 10**9, Pace.BYTES),
        ([kernel("HALF", "HALF", size=1000)], 10**12, Pace.FLOPS),
    ],
    ids=str,
)
def test_the_longest_bound_sets_the_pace(kernels, flops, pace):
    found = estimate_of(compiled(kernels), [Product("product", flops)], H200)
    assert found.pace is pace
    assert found.latency_ms == max(found.times_ms.values())


def test_types_have_peaks_of_their_own():
    """Four products of one size each: their times add up, each at its own peak."""
    words = {"FLOAT": 67, "HALF": 989.5, "INT8": 1979, "FP8": 1979}
    kernels = [kernel(word, word, onnx=(word,)) for word in words]
    found = estimate_of(compiled(kernels), [Product(word, 10**12) for word in words], H200)
    assert found.times_ms[Pace.FLOPS] == pytest.approx(sum(1e3 / peak for peak in words.values()))


def test_a_type_that_the_gpu_does_not_multiply():
    with pytest.raises(InputError, match="a100 does not multiply fp8: its data sheet has fp32, fp16, bf16, int8"):
        estimate_of(compiled([kernel("FP8", "FP8")]), PRODUCTS, gpu_from_text("a100"))


def test_the_kernels_are_those_of_the_nearest_that_can_be_compiled():
    stands_for = {gpu.name: gpu.compiles_as for gpu in GPUS}
    assert (stands_for["a100"], stands_for["4090"], stands_for["5090"]) == ("8.0", "8.9", "12.0")
    assert stands_for["h100"] == stands_for["h200"] == stands_for["b200"] == "8.9"
    assert set(stands_for.values()) <= RTX_CAPABILITIES


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("H200", "h200"), ("NVIDIA H200", "h200"), ("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA GeForce RTX 4090", "4090"), ("rtx5090", "5090"), ("Tesla T4", "t4"), ("NVIDIA L40S", "l40s"),
    ],
)  # fmt: skip
def test_names_of_gpus(text, name):
    assert gpu_from_text(text).name == name


@pytest.mark.parametrize("text", ["", "v100", "rtx", "h200h200", "40"])
def test_a_gpu_of_no_data_sheet(text):
    with pytest.raises(InputError, match="expected one of t4, a10, a100, l4, l40s, 4090, 5090, h100, h200, b200"):
        gpu_from_text(text)


def test_the_table_of_peaks_is_sound():
    names = [name for gpu in GPUS for name in (gpu.name, *gpu.aliases)]
    assert len(set(names)) == len(names)
    for gpu in GPUS:
        peaks = gpu.tflops
        assert gpu.source
        assert 100 < gpu.memory_gb_per_s < 10_000
        assert peaks["fp32"] < peaks["fp16"] < peaks["int8"]
        # Sparsity doubles, and a figure with it is an easy mistake: eight bits are twice FP16, four times where GeForce
        # halves what sums in FP32.
        assert peaks["int8"] / peaks["fp16"] == pytest.approx(4 if gpu.name in ("4090", "5090") else 2, rel=0.02)
        assert peaks.get("bf16", peaks["fp16"]) == peaks["fp16"]
        assert ("fp8" in peaks) is (float(gpu.compute_capability) >= 8.9)
        assert peaks.get("fp8", 2 * peaks["fp16"]) == pytest.approx(2 * peaks["fp16"], rel=0.02)
