"""Re-attention as one operator of ours, `deepvit::ReAttention`, whose body in the file spells it out for all others.

O_g = ((Σ_h Θ'_gh · softmax_h(scale · (c_0,h∘q_h + c_1,h)·k_hᵀ) + b'_g)·v_g)∘c_2,g, from qkv (B, N, 3, H, d) as its
linear gives it to (B, M, H·d) as the projection takes it, both of one type T, float16 or bfloat16 (float32 where the
body is proved). Θ' (H, H), b' (H,) and channels c (3, H, d) are float32; c is (1, 0, 1) where the linear gives q, k
and v themselves. Of the N tokens stored the first `tokens` are keys, and the first `queries`, M, are queries. TensorRT
finds the kernel by the node's domain and by `plugin_namespace` and `plugin_version`, which its parser asks for where
there is a body.

A runtime that knows the operator rounds its output alone: scores, maps and sums are its own affair (runtime/kernels/).
One that does not computes the body, products in T and the softmax in float32, as the graph without the operator has it.
"""

from collections.abc import Iterable
from typing import Any

import onnx
from onnx import TensorProto, helper

DOMAIN, OPERATOR, VERSION = "deepvit", "ReAttention", 1
PLUGIN: dict[str, Any] = {"plugin_namespace": DOMAIN, "plugin_version": str(VERSION)}
INPUTS = ("qkv", "theta", "bias", "channels")


def is_reattention(node: onnx.NodeProto) -> bool:
    return node.domain == DOMAIN and node.op_type == OPERATOR


def nodes_of(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the graph's nodes of this operator, in its order."""
    return [node for node in graph.node if is_reattention(node)]


def tokens_of(node: onnx.NodeProto) -> tuple[int, int]:
    """Return how many of the tokens stored a node takes for keys, and how many for queries."""
    found = {attribute.name: int(attribute.i) for attribute in node.attribute}
    return found["tokens"], found["queries"]


def reattention_node(
    name: str, inputs: Iterable[str], output: str, *, scale: float, tokens: int, queries: int
) -> onnx.NodeProto:
    """Return the operator on qkv, Θ', b' and channels."""
    own = {"scale": scale, "tokens": tokens, "queries": queries, **PLUGIN}
    return helper.make_node(OPERATOR, list(inputs), [output], name, domain=DOMAIN, **own)


def add_operator(model: onnx.ModelProto) -> None:
    """Let `model` use the operator: import its domain, and define it."""
    opset = next(each.version for each in model.opset_import if each.domain == "")
    model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    model.functions.append(body(opset))


def body(opset: int) -> onnx.FunctionProto:
    """Return the operator in ONNX's own operators, of opset 18 or newer.

    Keys that do not count are cut off, and their values with them.
    """
    return helper.make_function(
        DOMAIN,
        OPERATOR,
        list(INPUTS),
        ["out"],
        [*_parts(), *_maps(), *_output()],
        [helper.make_opsetid("", opset)],
        ["scale", "tokens", "queries", *PLUGIN],
    )


def _parts() -> list[onnx.NodeProto]:
    """Give q (B, H, M, d), kᵀ (B, H, d, tokens), v (B, H, tokens, d)."""
    return [
        *(_integers(f"axis{axis}", [axis]) for axis in (0, 1, 2)),
        *_count("tokens"),
        *_count("queries"),
        helper.make_node("Split", ["qkv"], ["q5", "k5", "v5"], axis=2, num_outputs=3),
        *(_node("Squeeze", [f"{part}5", "axis2"], f"{part}4") for part in "qkv"),
        *(_node("Slice", [f"{part}4", "axis0", "tokens", "axis1"], f"{part}_real") for part in "kv"),
        _node("Slice", ["q4", "axis0", "queries", "axis1"], "q_asked"),
        _node("CastLike", ["channels", "qkv"], "channels_t"),
        helper.make_node("Split", ["channels_t"], ["q_factor", "q_added", "out_factor"], axis=0, num_outputs=3),
        _node("Mul", ["q_asked", "q_factor"], "q_scaled"),
        _node("Add", ["q_scaled", "q_added"], "q_whole"),
        _node("Transpose", ["q_whole"], "q", perm=[0, 2, 1, 3]),
        _node("Transpose", ["k_real"], "k", perm=[0, 2, 3, 1]),
        _node("Transpose", ["v_real"], "v", perm=[0, 2, 1, 3]),
    ]


def _maps() -> list[onnx.NodeProto]:
    """Give the softmaxed maps (B, H, M, tokens), in T."""
    return [
        _from_attribute("scale32", "scale", "value_float"),
        _node("CastLike", ["scale32", "qkv"], "scale_t"),
        _node("MatMul", ["q", "k"], "products"),
        _node("Mul", ["products", "scale_t"], "scores"),
        _node("Cast", ["scores"], "scores32", to=TensorProto.FLOAT),
        _node("Softmax", ["scores32"], "maps32", axis=-1),
        _node("CastLike", ["maps32", "qkv"], "maps"),
    ]


def _output() -> list[onnx.NodeProto]:
    """Give the mixed maps times v, as rows (B, M, H·d)."""
    return [
        _integers("flat_shape", [0, 0, -1]),
        _node("Concat", ["flat_shape", "tokens"], "maps_shape", axis=0),
        _node("CastLike", ["theta", "qkv"], "theta_t"),
        _node("Reshape", ["maps", "flat_shape"], "flat"),
        _node("MatMul", ["theta_t", "flat"], "flat_mixed"),
        _node("Reshape", ["flat_mixed", "maps_shape"], "mixed"),
        _integers("sides", [1, 2]),
        _node("CastLike", ["bias", "qkv"], "bias_t"),
        _node("Unsqueeze", ["bias_t", "sides"], "bias_of_maps"),
        _node("Add", ["mixed", "bias_of_maps"], "biased"),
        _node("MatMul", ["biased", "v"], "heads"),
        _node("Transpose", ["heads"], "heads_of_rows", perm=[0, 2, 1, 3]),
        _node("Mul", ["heads_of_rows", "out_factor"], "rows"),
        _node("Reshape", ["rows", "flat_shape"], "out"),
    ]


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], **attributes)


def _integers(name: str, values: list[int]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value_ints=values)


def _count(attribute: str) -> list[onnx.NodeProto]:
    """Give (1,), what an attribute counts, under its name."""
    scalar = f"{attribute}_scalar"
    return [_from_attribute(scalar, attribute, "value_int"), _node("Unsqueeze", [scalar, "axis0"], attribute)]


def _from_attribute(name: str, attribute: str, field: str) -> onnx.NodeProto:
    """Return a constant that an attribute of the operator gives."""
    node = helper.make_node("Constant", [], [name])
    kind = onnx.AttributeProto.INT if field == "value_int" else onnx.AttributeProto.FLOAT
    node.attribute.append(onnx.AttributeProto(name=field, ref_attr_name=attribute, type=kind))
    return node


def flops(shape: tuple[int, ...], tokens: int, queries: int) -> int:
    """Return the multiplications and additions of one node's three products: q·kᵀ, the mix and A'·v.

    Args:
        shape: Of qkv, (B, N, 3, H, d).
        tokens: How many of the N are keys.
        queries: How many are queries.
    """
    batch, _, _, heads, width = shape
    return 2 * batch * heads * queries * tokens * (width + heads + width)


def traffic_bytes(shape: tuple[int, ...], queries: int) -> int:
    """Return the bytes of a node's inputs and output: qkv and output two a number, the others four."""
    batch, stored, parts, heads, width = shape
    return 2 * batch * (parts * stored + queries) * heads * width + 4 * heads * (heads + 1 + 3 * width)
