"""The arithmetic of a graph's products, and in which type a finished engine does it."""

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence

import onnx

from deepvit.runtime.errors import InputError
from deepvit.runtime.ort.rounding import load_model

from ...graph.reattention.operator import flops, is_reattention, nodes_of, tokens_of
from ..census import MULTIPLIES
from .traffic import Kernel

PRODUCTS = ("MatMul", "Gemm", "Conv")
# The compiler's words for types, the narrowest first, and what they are called in results.
TYPES = {"INT8": "int8", "FP8": "fp8", "HALF": "fp16", "BF16": "bf16", "FLOAT": "fp32"}


@dataclasses.dataclass(frozen=True)
class Product:
    """A MatMul, Gemm or Conv of a graph, or all three products of fused re-attention."""

    name: str
    flops: int  # 2·M·N·K: a multiplication and an addition each, of a whole batch


def products_of(content: bytes, batch: int) -> list[Product]:
    """Return the products of a graph at one batch size, in its order.

    Args:
        content: An ONNX file's bytes; its one input has its batch first.
        batch: The number of images.

    Raises:
        InputError: The shapes at a product do not follow from the input's.
    """
    model = load_model(content)
    fused = nodes_of(model.graph)
    given = {node.output[0] for node in fused}  # through a body nothing is inferred
    declared = [value for value in model.graph.value_info if value.name in given]
    del model.graph.value_info[:]  # they have the name of the batch where its number is wanted
    model.graph.value_info.extend(declared)
    for each in (model.graph.input[0], *model.graph.value_info):
        each.type.tensor_type.shape.dim[0].dim_value = batch
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
    return [
        Product(node.name, _flops(node, shapes))
        for node in graph.node
        if node.op_type in PRODUCTS or is_reattention(node)
    ]


def _flops(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Return 2 × the elements of a product's output × how many products each of them sums; see `operator.flops`."""
    left, right, output = (shapes.get(name, ()) for name in (*node.input[:2], node.output[0]))
    if not (left and right and output and all((*left, *right, *output))):
        raise InputError(f"{node.name or node.op_type}: its shapes do not follow from the graph's input")
    if is_reattention(node):
        return flops(left, *tokens_of(node))
    if node.op_type == "Conv":
        return 2 * math.prod(output) * math.prod(right[1:])  # (out, in/groups, height, width)
    is_transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return 2 * math.prod(output) * left[0 if is_transposed else -1]


def flops_by_type(products: Sequence[Product], kernels: Iterable[Kernel]) -> tuple[dict[str, int], int]:
    """Return type → operations in it, and how many products were counted: those that a kernel names.

    A product that no kernel names was computed when the engine was built, or is none of the compiler's.
    """
    named: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        for name in kernel.onnx:
            named.setdefault(name, []).append(kernel)
    flops: collections.Counter[str] = collections.Counter()
    counted = 0
    for product in products:
        kind = _multiplied_in(named.get(product.name, []))
        if kind is not None:
            flops[kind] += product.flops
            counted += 1
    return dict(flops), counted


def _multiplied_in(kernels: Sequence[Kernel]) -> str | None:
    """Return the narrowest type of which one of a product's kernels reads two, as both factors of a product are read.

    A product is named by kernels that only scale or add after it, too; where one of another kind is among them, it
    multiplies. Where both do in one, the other factor may be computed there: then no type is read twice, and it is the
    widest that is read at all. Float32 beside a narrower type is what norms and sums are kept in.
    """
    own = [kernel for kernel in kernels if MULTIPLIES.search(kernel.kind)] or kernels
    read = {kind for kernel in own for kind in kernel.operand_types}
    candidates = read - {"FLOAT"} or read
    twice = {kind for kernel in own for kind, n in collections.Counter(kernel.operand_types).items() if n > 1}
    narrowest = next((name for kind, name in TYPES.items() if kind in twice & candidates), None)
    return narrowest or next((name for kind, name in reversed(TYPES.items()) if kind in candidates), None)
