"""Float32 graph → the same with one `ReAttention` node for all between qkv and projection of blocks that mix maps."""

import dataclasses
import re

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deepvit.calibration.graph_links import makers, readers
from deepvit.calibration.padded_tokens import KEY_MASK
from deepvit.runtime.manifest import ReattentionForm

from ..graph.trace import finish
from .operator import add_operator, reattention_node

MIX, MIX_BIAS = "mix_weight", "mix_bias"  # how GraphAttention's names of Θ' and b' end
MEAN = "ReduceMean"  # of the values, in `MixForm.MATMUL_VALUE`
LINEAR = r"blocks\.(\d+)\.attn\.qkv/(Add|MatMul)(_\d+)?"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Attention:
    """What a node stands for.

    Attributes:
        block: Its number.
        qkv: The tensor that the qkv linear gives, (B, N, 3·H·d).
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


def written(model: onnx.ModelProto, form: ReattentionForm) -> onnx.ModelProto:
    """Return a float32 graph with its re-attention in `form`; see `fuse_reattention`."""
    return fuse_reattention(model) if form is ReattentionForm.FUSED else model


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
    constants = {initializer.name: initializer for initializer in graph.initializer}
    mixing = [each for each in _attentions(graph) if each.constant(MIX)]
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
            nodes += _nodes(graph, attention, shapes, constants)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unread(graph)
    add_operator(fused)
    return finish(fused)


def _attentions(graph: onnx.GraphProto) -> list[_Attention]:
    """Return every block's attention, found from its projection backwards to its qkv linear."""
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
            elif node is None or re.fullmatch(LINEAR, node.name):
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
    graph: onnx.GraphProto,
    attention: _Attention,
    shapes: dict[str, list[int]],
    constants: dict[str, onnx.TensorProto],
) -> list[onnx.NodeProto]:
    """Return what stands for one block's attention: qkv seen as heads, the node, and the first rows where not all."""
    theta, bias = attention.constant(MIX), attention.constant(MIX_BIAS)
    if theta is None or bias is None:
        raise ValueError(f"block {attention.block} mixes its maps, and not as Θ'·A + b'")
    base = f"blocks.{attention.block}.attn"
    _, stored, width = shapes[attention.qkv]
    heads = constants[theta].dims[0]
    _flatten(constants[bias], heads)
    mask = attention.constant(KEY_MASK)
    tokens = stored if mask is None else int(np.count_nonzero(numpy_helper.to_array(constants[mask]) == 0))
    rows = shapes[attention.output][1]
    view = _constant(graph, f"{base}/Reshape_qkv.shape", [0, 0, 3, heads, width // (3 * heads)])
    seen = f"{base}/Reshape_qkv.out"
    whole = attention.output if rows == stored else f"{base}/ReAttention.out"
    nodes = [
        helper.make_node("Reshape", [attention.qkv, view], [seen], f"{base}/Reshape_qkv"),
        # The scale of the scores is folded into q.
        reattention_node(f"{base}/ReAttention", [seen, theta, bias], whole, scale=1.0, tokens=tokens),
    ]
    _declare(graph, whole, attention.qkv, width // 3)
    if rows != stored:
        bounds = [_constant(graph, f"{base}/Slice_rows.shape{i}", [value]) for i, value in enumerate((0, rows, 1))]
        nodes.append(helper.make_node("Slice", [whole, *bounds], [attention.output], f"{base}/Slice_rows"))
    return nodes


def _declare(graph: onnx.GraphProto, name: str, like: str, width: int) -> None:
    """Give a tensor the type of `like`, with other columns."""
    value = onnx.ValueInfoProto()
    value.CopyFrom(next(each for each in graph.value_info if each.name == like))
    value.name = name
    value.type.tensor_type.shape.dim[2].dim_value = width
    stale = [each for each in graph.value_info if each.name == name]
    for each in stale:
        graph.value_info.remove(each)
    graph.value_info.append(value)


def _flatten(bias: onnx.TensorProto, heads: int) -> None:
    """Make b' (1, H, 1, 1) to (H,)."""
    if list(bias.dims) not in ([1, heads, 1, 1], [heads]):
        raise ValueError(f"{bias.name} is {list(bias.dims)}, expected a number for each of {heads} heads")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias).reshape(heads), bias.name))


def _constant(graph: onnx.GraphProto, name: str, values: list[int]) -> str:
    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Remove initializers that nothing reads any more, such as masks."""
    read = set(readers(graph))
    kept = [initializer for initializer in graph.initializer if initializer.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
