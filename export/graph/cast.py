"""FP32 graph → FP16 or BF16 graph: precision as types in the graph, for strongly typed engine builders.

Everything between `images` and `logits` becomes the reduced type but for two kinds of nodes: Softmax and means over
tokens are wrapped in casts to float32. LayerNormalization keeps reduced inputs and outputs and accumulates in float32
by its `stash_type` (ONNX specification of LayerNormalization-17). `ReAttention` takes all others in float32.
"""

import numpy as np
import onnx
import onnx_ir as ir

from deepvit.metrics.bounds import FP16_MAX
from deepvit.runtime.artifact.manifest import Precision, ReattentionForm
from deepvit.runtime.errors import OutOfBoundsError, first_of

from .onnx_file import INPUT, OUTPUT, finish
from .reattention.fuse import fuse_reattention
from .reattention.operator import DOMAIN

TYPES = {Precision.FP16: ir.DataType.FLOAT16, Precision.BF16: ir.DataType.BFLOAT16}
ACCUMULATE_IN_FP32 = frozenset({"Softmax", "ReduceMean"})

FAULTS_SHOWN = 8
FP16_SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)  # 2⁻¹⁴


def in_types(model: onnx.ModelProto, precision: Precision, reattention: ReattentionForm) -> onnx.ModelProto:
    """Return a float32 graph, its linears quantised or not, with re-attention as asked for and all else in `precision`.

    Raises:
        OutOfBoundsError: Weights that FP16 cannot hold, all of them named.
    """
    is_fused = reattention is ReattentionForm.FUSED
    return cast_graph(fuse_reattention(model) if is_fused else model, precision)


def cast_graph(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Return `model` in `precision`, its input and output unchanged; itself for FP32.

    Raises:
        OutOfBoundsError: Weights that FP16 cannot hold, all of them named.
    """
    if precision is Precision.FP32:
        return model
    if precision is Precision.FP16:
        check_fp16_range(model)
    kind = TYPES[precision]
    graph_model = ir.from_proto(model)
    graph = graph_model.graph
    for value in graph.initializers.values():
        if value.dtype is ir.DataType.FLOAT and value.const_value is not None and not _is_kept(value):
            _set_constant(value, kind)
    for node in list(graph):
        _cast_node(graph, node, kind)
    _cast_input(graph, kind)
    _cast_output(graph, kind)
    return finish(ir.to_proto(graph_model))


def check_fp16_range(model: onnx.ModelProto) -> None:
    """Refuse weights that overflow in FP16, and weights that are nothing but FP16 subnormals.

    Small biases pass: rounding one costs at most 2⁻²⁵ in absolute terms. So do the scales of quantised tensors, which
    are FP16 numbers from the start, and what keeps a norm from dividing by nothing.

    Raises:
        OutOfBoundsError: Such weights, all of them named.
    """
    faults = []
    for initializer in model.graph.initializer:
        if initializer.data_type != onnx.TensorProto.FLOAT:
            continue
        magnitude = np.abs(onnx.numpy_helper.to_array(initializer))
        largest = float(magnitude.max(initial=0.0))
        if largest > FP16_MAX:
            faults.append(f"{initializer.name} reaches {largest:.4g}, FP16 ends at {FP16_MAX:.0f}")
        elif 0 < largest < FP16_SMALLEST_NORMAL and not _may_be_small(initializer.name):
            faults.append(f"{initializer.name} stays below {largest:.4g}, FP16's smallest normal is 6.1e-05")
    if faults:
        shown = first_of(sorted(faults), FAULTS_SHOWN, "; ")
        raise OutOfBoundsError(f"weights do not fit FP16: {shown}; export with ‹bf16› or ‹fp32›")


def _may_be_small(name: str) -> bool:
    return "bias" in name or name.endswith((".scale", ".eps"))


def _set_constant(value: ir.Value, kind: ir.DataType) -> None:
    assert value.const_value is not None
    array = value.const_value.numpy().astype(kind.numpy())
    value.const_value = ir.Tensor(array, dtype=kind, name=value.name)
    value.dtype = kind


def _is_kept(value: ir.Value) -> bool:
    """Whether a constant is read by `ReAttention`, which takes them in float32."""
    return any(user.domain == DOMAIN for user, _ in value.uses())


def _is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype is ir.DataType.FLOAT


def _cast_node(graph: ir.Graph, node: ir.Node, kind: ir.DataType) -> None:
    """Give `node` reduced outputs, by casts around it where it has to accumulate in float32."""
    if node.op_type == "Cast" and node.attributes["to"].as_int() == ir.DataType.FLOAT:
        node.attributes["to"] = ir.AttrInt64("to", kind)
    if node.op_type == "LayerNormalization":
        node.attributes["stash_type"] = ir.AttrInt64("stash_type", ir.DataType.FLOAT)
    if node.op_type not in ACCUMULATE_IN_FP32:
        for value in node.outputs:
            if _is_float(value) and value.name != OUTPUT:
                value.dtype = kind
        return
    source, result = node.inputs[0], node.outputs[0]
    assert source is not None
    users = tuple(result.uses())
    widened = _cast(graph, node, source, ir.DataType.FLOAT, f"{node.name}.widen", before=True)
    node.replace_input_with(0, widened)
    narrowed = _cast(graph, node, result, kind, f"{node.name}.narrow", before=False)
    for user, index in users:
        user.replace_input_with(index, narrowed)


def _cast(graph: ir.Graph, node: ir.Node, value: ir.Value, to: ir.DataType, name: str, *, before: bool) -> ir.Value:
    """Insert Cast(value) beside `node` and return its output."""
    out = ir.Value(name=f"{name}.out", type=ir.TensorType(to), shape=value.shape)
    cast = ir.Node("", "Cast", [value], [ir.AttrInt64("to", to)], outputs=[out], name=name)
    if before:
        graph.insert_before(node, cast)
    else:
        graph.insert_after(node, cast)
    return out


def _cast_input(graph: ir.Graph, kind: ir.DataType) -> None:
    images = next(value for value in graph.inputs if value.name == INPUT)
    if images.dtype is not ir.DataType.FLOAT:
        return  # uint8 pixels have their own Cast, which now gives the reduced type
    users = [(user, index) for user, index in images.uses() if user.op_type != "Shape"]
    narrowed = _cast(graph, next(iter(graph)), images, kind, f"{INPUT}.narrow", before=True)
    for user, index in users:
        user.replace_input_with(index, narrowed)


def _cast_output(graph: ir.Graph, kind: ir.DataType) -> None:
    logits = graph.outputs[0]
    last = logits.producer()
    assert last is not None
    logits.name, logits.dtype = f"{last.name}.out", kind
    widened = _cast(graph, last, logits, ir.DataType.FLOAT, f"{OUTPUT}.widen", before=False)
    widened.name = OUTPUT
    graph.outputs[0] = widened
