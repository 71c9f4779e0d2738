"""What is quantised: one table, and the places in a graph that it names.

The four linears of every block, and with FP8 on demand the two products of attention. Everything else stays as it is:
softmax, the mix of the heads, LayerNormalization and GELU, the patch embedding, and the head, which together are a
tenth of the arithmetic and most of the error.
"""

import dataclasses
import enum
import re

import onnx

from deepvit.runtime.artifact.manifest import Grid

from .graph_links import readers


class Operand(enum.Enum):
    """What an input of a product is."""

    ACTIVATION = "activation"  # one scale for the tensor, measured
    WEIGHT = "weight"  # a scale for each output channel in INT8, one for the tensor in FP8


@dataclasses.dataclass(frozen=True)
class Rule:
    """One row of the policy."""

    products: str  # pattern of node names
    operands: tuple[Operand, Operand]

    @property
    def is_attention(self) -> bool:
        return Operand.WEIGHT not in self.operands


POLICY = (
    Rule(r"blocks\.\d+\.attn\.(qkv|q|k|v)/MatMul", (Operand.ACTIVATION, Operand.WEIGHT)),
    Rule(r"blocks\.\d+\.attn\.proj/MatMul", (Operand.ACTIVATION, Operand.WEIGHT)),
    Rule(r"blocks\.\d+\.mlp\.fc[12]/MatMul", (Operand.ACTIVATION, Operand.WEIGHT)),
    # q·kᵀ and A'·v; the mix, a product with weights, is not meant: see `find_products`.
    Rule(r"blocks\.\d+\.attn/MatMul(_\d+)?", (Operand.ACTIVATION, Operand.ACTIVATION)),
)


@dataclasses.dataclass(frozen=True)
class Product:
    """One product of a graph that the policy quantises.

    Attributes:
        node: The MatMul's name.
        unit: What is kept or quantised as a whole, by its module: `blocks.3.attn.qkv` also where q, k and v are three
            products.
        activations: The tensors that are quantised with measured ranges.
        weight: The initializer, (inputs, outputs); None for attention.
        bias: The initializer that is added to the product, (outputs,); None where nothing is.
    """

    node: str
    unit: str
    activations: tuple[str, ...]
    weight: str | None
    bias: str | None

    @property
    def block(self) -> int:
        return int(self.unit.split(".")[1])


def find_products(model: onnx.ModelProto, *, attention: bool = False) -> list[Product]:
    """Return what the policy quantises in `model`, in the graph's order; with `attention`, QK and AV too."""
    graph = model.graph
    constants = {initializer.name for initializer in graph.initializer}
    users = readers(graph)
    single = _plain_single_queries(graph, constants)
    products = []
    for node in graph.node:
        rule = next((rule for rule in POLICY if re.fullmatch(rule.products, node.name)), None)
        if rule is None:
            continue
        if not rule.is_attention:
            bias = _bias_after(node, users, constants)
            products.append(Product(node.name, _unit(node.name), (node.input[0],), node.input[1], bias))
        elif attention and constants.isdisjoint(node.input) and _unit(node.name) not in single:
            kind = "qk" if _leads_to(node, users, "Softmax") else "av"
            products.append(Product(node.name, f"{_unit(node.name)}.{kind}", tuple(node.input), None, None))
    return products


def _plain_single_queries(graph: onnx.GraphProto, constants: set[str]) -> set[str]:
    """Return the attentions of the class token alone whose maps are not mixed: the last block's in a plain ViT.

    They stay as they are: TensorRT-RTX 1.7 computes them in FP16 whatever they read.
    """
    slices = {node.output[0] for node in graph.node if node.op_type == "Slice"}
    units = {_unit(node.name) for node in graph.node if node.op_type == "MatMul" and node.input[0] in slices}
    return {unit for unit in units if f"{unit}.mix_weight" not in constants}


def _unit(node: str) -> str:
    return re.sub(r"\.attn\.[qkv]$", ".attn.qkv", node.partition("/")[0])


def _leads_to(node: onnx.NodeProto, users: dict[str, list[onnx.NodeProto]], kind: str) -> bool:
    return any(user.op_type == kind for user in users.get(node.output[0], []))


def _bias_after(node: onnx.NodeProto, users: dict[str, list[onnx.NodeProto]], constants: set[str]) -> str | None:
    following = users.get(node.output[0], [])
    if len(following) != 1 or following[0].op_type != "Add":
        return None
    return next((name for name in following[0].input if name in constants), None)


def shifted_activations(products: list[Product], grid: Grid) -> frozenset[str]:
    """Return the activations that go to a symmetric grid shifted by a constant: what GELU gives, −0.17 and more.

    x·W + b = (x − c)·W + (b + c·1ᵀW), so that the grid's negative half is of use as well. An E4M3 grid is finest around
    zero, where most of the values are, and UINT8 has a zero point for the same.
    """
    if grid is not Grid.INT8:
        return frozenset()
    return frozenset(p.activations[0] for p in products if p.unit.endswith(".mlp.fc2") and p.bias is not None)


def units_of(products: list[Product]) -> list[str]:
    """Return the units in the graph's order, each once."""
    return list(dict.fromkeys(product.unit for product in products))


def activations_of(products: list[Product]) -> dict[str, list[Product]]:
    """Return the activation tensors in the graph's order, each with the products that read it."""
    readers: dict[str, list[Product]] = {}
    for product in products:
        for name in product.activations:
            readers.setdefault(name, []).append(product)
    return readers
