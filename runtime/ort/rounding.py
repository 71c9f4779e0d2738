"""FP16 and BF16 graphs as a CPU can run them honestly: float32 arithmetic, every tensor rounded to its type.

ONNX Runtime's CPU provider executes an FP16 graph in float32 and drops the casts between its nodes, so that neither
rounding nor overflow shows; a BF16 graph it refuses. Here each value that the graph declares as FP16 or BF16 is cast
to that type and back where it is produced. A GPU that stores every tensor and accumulates in float32 computes the
same; one that fuses operations rounds less often. What a DequantizeLinear gives to a product of two such is not
rounded: INT8 and FP8 kernels multiply the stored numbers and apply the scales to the sum.
"""

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from ..errors import InputError

BFLOAT16 = TensorProto.BFLOAT16
REDUCED = (TensorProto.FLOAT16, BFLOAT16)
FLOAT8 = TensorProto.FLOAT8E4M3FN
# These pass values on as they are, so that what was rounded stays rounded.
MOVES_DATA = frozenset(
    [
        "Concat",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Pad",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    ]
)


def load_model(content: bytes) -> onnx.ModelProto:
    """Parse an ONNX file.

    Raises:
        InputError: Not an ONNX model.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise InputError(f"not an ONNX model ({len(content)} bytes): {error}") from error
    return model


def types_in(graph: onnx.GraphProto) -> frozenset[int]:
    """Return the data types of the graph's constants and casts."""
    casts = {attribute.i for node in graph.node for attribute in node.attribute if attribute.name == "to"}
    return frozenset(casts | {initializer.data_type for initializer in graph.initializer})


def rounded_on_cpu(content: bytes) -> bytes:
    """Return the graph with float32 arithmetic and explicit rounding, as bytes.

    Raises:
        InputError: Not an ONNX model, a damaged one, or without the types of its values, which tell what to round.
    """
    model = load_model(content)
    try:
        _round(model)
    except InputError:
        raise
    except Exception as error:  # whatever the onnx package's helpers trip over in a graph that nobody checked
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"the graph's values cannot be rounded: {reason}; export it again") from error
    return bytes(model.SerializeToString())


def _round(model: onnx.ModelProto) -> None:
    graph = model.graph
    try:
        _check(model)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"the types of the graph's values cannot be inferred: {reason}") from error
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.output, *inferred.input)}
    for initializer in graph.initializer:
        if initializer.data_type in REDUCED:
            values = numpy_helper.to_array(initializer).astype("float32")
            initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))
    nodes: list[onnx.NodeProto] = []
    within_products = _read_by_quantized_products(graph)
    for node in graph.node:
        nodes.extend([node] if within_products.issuperset(node.output) else _rounded_node(node, types))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)


def _check(model: onnx.ModelProto) -> None:
    """Refuse what inference would take the model's word for, and crash on, as on an attribute of another type.

    Outputs are left out: of those that a probe adds, the shapes are not known, which the checker asks for.

    Raises:
        onnx.checker.ValidationError: The model is not what its schema says.
    """
    outputs = list(model.graph.output)
    del model.graph.output[:]
    try:
        onnx.checker.check_model(model)
    finally:
        model.graph.output.extend(outputs)


def _read_by_quantized_products(graph: onnx.GraphProto) -> set[str]:
    """Return the dequantised tensors that nothing reads but products of two of them."""
    restored = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    elsewhere = {
        name
        for node in graph.node
        if node.op_type not in ("MatMul", "Gemm") or not restored.issuperset(node.input[:2])
        for name in node.input
    }
    return restored - elsewhere


def _rounded_node(node: onnx.NodeProto, types: dict[str, int]) -> list[onnx.NodeProto]:
    """Return `node` computing in float32, followed by a cast down and up for each reduced output."""
    if node.op_type == "Cast":
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i in REDUCED:
                attribute.i = TensorProto.FLOAT
    if node.op_type in MOVES_DATA:
        return [node]
    produced = [node]
    for position, name in enumerate(node.output):
        if (kind := types.get(name)) in REDUCED:
            exact, narrow = f"{name}.exact", f"{name}.stored"
            node.output[position] = exact
            produced.append(helper.make_node("Cast", [exact], [narrow], f"{name}.round", to=kind))
            produced.append(helper.make_node("Cast", [narrow], [name], f"{name}.widen", to=TensorProto.FLOAT))
    return produced
