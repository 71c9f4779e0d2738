"""Float32 graph → the same with one `ReAttention` node for all between qkv and projection of blocks that mix maps."""

import dataclasses
import re

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from deepvit.calibration.graph_links import makers, readers
from deepvit.calibration.padded_tokens import KEY_MASK
from deepvit.calibration.policy import Product, find_products

from ..onnx_file import finish
from .channels import Constants, Mix, is_in_eight_bits, take_over
from .operator import add_operator, reattention_node

MIX, MIX_BIAS = "mix_weight", "mix_bias"  # how GraphAttention's names of Θ' and b' end
MEAN = "ReduceMean"  # of the values, in `MixForm.MATMUL_VALUE`
LINEAR = r"(?P<unit>blocks\.\d+\.attn\.qkv)/(?P<kind>Add|MatMul)(_\d+)?"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Attention:
    """What a node stands for.

    Attributes:
        block: Its number.
        qkv: The tensor that the qkv linear gives, (B, N, 3·H·d), without its bias if that is taken over.
        output: The tensor that the projection reads, (B, M, H·d) of the first M rows.
        between: The names of the nodes that make the one of the other.
        constants: The initializers that they read.
    """

    block: str
    qkv: str
    output: str
    between: frozenset[str]
    constants: frozenset[str]

    def constant(self, ending: str) -> str | None:
        """Return the one whose name ends so."""
        return next((name for name in sorted(self.constants) if name.endswith(ending)), None)


def fuse_reattention(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` in which every block that mixes its maps has one node for it; others stay as they are.

    Tensors that are left keep their names, so that ranges measured on `model` hold.

    Args:
        model: A float32 graph with all shapes as `GraphModule` writes it, of `MixForm.MATMUL` and `QkvForm.FUSED`; its
            linears quantised or not.

    Raises:
        ValueError: A block of another form, or none that mixes.
    """
    fused = onnx.ModelProto()
    fused.CopyFrom(model)
    graph = fused.graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    constants, products = Constants(graph), {product.node: product for product in find_products(model)}
    taken = {each.unit for each in products.values() if is_in_eight_bits(constants, each)}
    mixing = [each for each in _attentions(graph, taken) if each.constant(MIX)]
    if not mixing:
        raise ValueError("no block mixes its maps in one product with all of them")
    replaced = {name: each for each in mixing for name in each.between}
    if means := [node.name for node in graph.node if node.op_type == MEAN and node.name in replaced]:
        raise ValueError(f"{means[0]}: b' is added behind the values, a multiple of it; expected Θ'·A + b'")
    made, nodes = set(), []
    for node in graph.node:
        attention = replaced.get(node.name)
        if attention is None:
            nodes.append(node)
        elif attention.block not in made:
            made.add(attention.block)
            nodes += _nodes(attention, shapes, constants, products)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unread(graph)
    add_operator(fused)
    return finish(fused)


def _attentions(graph: onnx.GraphProto, taken: set[str]) -> list[_Attention]:
    """Return every block's attention, found from its projection backwards to its qkv linear.

    Of linears that are `taken` over, the bias is found on the way.
    """
    made_by, read_by = makers(graph), readers(graph)
    constants = {initializer.name for initializer in graph.initializer}
    found = []
    for projection in graph.node:
        match = re.fullmatch(r"blocks\.(\d+)\.attn\.proj/MatMul", projection.name)
        if match is None:
            continue
        between: dict[str, onnx.NodeProto] = {}
        output = _unquantized(projection.input[0], made_by)
        ends, read, waiting = set(), set(), [output]
        while waiting:
            name = waiting.pop()
            node = made_by.get(name)
            if name in constants:
                read.add(name)
            elif node is None or _is_end(node.name, taken):
                ends.add(name)
            elif node.name not in between:
                between[node.name] = node
                waiting += node.input
        if len(ends) != 1 or not _is_whole(between, output, read_by):
            raise ValueError(f"{projection.name}: what it reads is not made of one qkv linear alone")
        found.append(
            _Attention(
                block=match[1],
                qkv=ends.pop(),
                output=output,
                between=frozenset(between),
                constants=frozenset(read),
            )
        )
    return found


def _is_end(name: str, taken: set[str]) -> bool:
    match = re.fullmatch(LINEAR, name)
    return match is not None and (match["kind"] == "MatMul" or match["unit"] not in taken)


def _unquantized(name: str, made_by: dict[str, onnx.NodeProto]) -> str:
    """Return what was quantised and restored to `name`, or itself."""
    while name in made_by and made_by[name].op_type in ("QuantizeLinear", "DequantizeLinear"):
        name = made_by[name].input[0]
    return name


def _is_whole(between: dict[str, onnx.NodeProto], output: str, read_by: dict[str, list[onnx.NodeProto]]) -> bool:
    """Return whether nothing behind reads what is made in between, but for the output."""
    made = {name for node in between.values() for name in node.output} - {output}
    return all(user.name in between for name in made for user in read_by.get(name, ()))


def _nodes(
    attention: _Attention, shapes: dict[str, list[int]], constants: Constants, products: dict[str, Product]
) -> list[onnx.NodeProto]:
    """Return what stands for one block's attention: qkv seen as heads, and the node; its constants are written."""
    theta, bias = attention.constant(MIX), attention.constant(MIX_BIAS)
    if theta is None or bias is None:
        raise ValueError(f"block {attention.block} mixes its maps, and not as Θ'·A + b'")
    base = f"blocks.{attention.block}.attn"
    _, stored, width = shapes[attention.qkv]
    mask = attention.constant(KEY_MASK)
    tokens = stored if mask is None else int(np.count_nonzero(constants.array(mask) == 0))
    mix = Mix(constants.array(theta), _flat(constants.array(bias), bias), tokens)
    heads = len(mix.bias)
    constants.put(bias, mix.bias.astype(np.float32))
    qkv, projection = (products[f"{base}.{linear}/MatMul"] for linear in ("qkv", "proj"))
    taken = (
        take_over(constants, qkv, projection, mix) if is_in_eight_bits(constants, qkv) else _as_they_are(heads, width)
    )
    channels = constants.put(f"{base}.channels", taken.astype(np.float32))
    view = np.array([0, 0, 3, heads, width // (3 * heads)], np.int64)
    shape, seen = constants.put(f"{base}/Reshape_qkv.shape", view), f"{base}/Reshape_qkv.out"
    sizes = {"tokens": tokens, "queries": shapes[attention.output][1]}
    return [
        helper.make_node("Reshape", [attention.qkv, shape], [seen], f"{base}/Reshape_qkv"),
        # The scale of the scores is folded into q.
        reattention_node(f"{base}/ReAttention", [seen, theta, bias, channels], attention.output, scale=1.0, **sizes),
    ]


def _as_they_are(heads: int, width: int) -> npt.NDArray[np.float64]:
    """Return the channels of a linear whose output, so many columns, is q, k and v."""
    return np.stack([np.full((heads, width // (3 * heads)), value) for value in (1.0, 0.0, 1.0)])


def _flat(bias: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    """Return b' (1, H, 1, 1) as (H,)."""
    if bias.size != max(bias.shape):
        raise ValueError(f"{name} is {list(bias.shape)}, expected a number for each head")
    return bias.ravel()


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Remove initializers that nothing reads any more, such as masks."""
    read = set(readers(graph))
    kept = [initializer for initializer in graph.initializer if initializer.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
