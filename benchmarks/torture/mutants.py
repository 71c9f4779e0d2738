"""Damaged bytes: what disks and wires do, and what somebody does who knows the format."""

import random

import onnx

WORST = (0x00, 0xFF, 0x7F, 0x80)


def damaged(content: bytes, source: random.Random) -> bytes:
    """Return `content` with one to four faults: bits, bytes, gaps, ends, pieces doubled or moved."""
    spoiled = bytearray(content)
    for _ in range(source.randint(1, 4)):
        source.choice((_flip_bit, _set_byte, _zero, _cut_end, _cut_out, _double, _insert))(spoiled, source)
    return bytes(spoiled)


def _place(spoiled: bytearray, source: random.Random) -> int:
    """Half of the places lie in the first kilobyte, where headers are."""
    end = len(spoiled) if source.random() < 0.5 else min(1024, len(spoiled))
    return source.randrange(max(1, end))


def _flip_bit(spoiled: bytearray, source: random.Random) -> None:
    if spoiled:
        spoiled[_place(spoiled, source)] ^= 1 << source.randrange(8)


def _set_byte(spoiled: bytearray, source: random.Random) -> None:
    if spoiled:
        spoiled[_place(spoiled, source)] = source.choice(WORST)


def _zero(spoiled: bytearray, source: random.Random) -> None:
    start = _place(spoiled, source)
    length = min(source.randint(1, 4096), len(spoiled) - start)
    spoiled[start : start + length] = bytes(length)


def _cut_end(spoiled: bytearray, source: random.Random) -> None:
    del spoiled[_place(spoiled, source) :]


def _cut_out(spoiled: bytearray, source: random.Random) -> None:
    start = _place(spoiled, source)
    del spoiled[start : start + source.randint(1, 64)]


def _double(spoiled: bytearray, source: random.Random) -> None:
    start = _place(spoiled, source)
    spoiled[start:start] = spoiled[start : start + source.randint(1, 256)]


def _insert(spoiled: bytearray, source: random.Random) -> None:
    spoiled[_place(spoiled, source) : 0] = source.randbytes(source.randint(1, 16))


def onnx_mutant(content: bytes, source: random.Random) -> bytes:
    """Return a well-formed protobuf of an ONNX model in which one to three fields are other than they should be."""
    model = onnx.load_from_string(content)
    for _ in range(source.randint(1, 3)):
        source.choice(ONNX_FAULTS)(model.graph, source)
    return model.SerializeToString()


def _some(sequence: object, source: random.Random) -> object:
    items = list(sequence)  # type: ignore[call-overload]
    return source.choice(items) if items else None


NUMBERS = (-1, 0, 1, 2, 3, 7, 255, 1 << 31, (1 << 62), -(1 << 63), (1 << 63) - 1)
OPERATORS = ("Add", "MatMul", "Conv", "Reshape", "Loop", "If", "Constant", "Gather", "QuantizeLinear", "Nonsense", "")


def _other_dim(graph: onnx.GraphProto, source: random.Random) -> None:
    tensor = _some(graph.initializer, source)
    if tensor is not None and tensor.dims:
        tensor.dims[source.randrange(len(tensor.dims))] = source.choice(NUMBERS)


def _other_type(graph: onnx.GraphProto, source: random.Random) -> None:
    tensor = _some(graph.initializer, source)
    if tensor is not None:
        tensor.data_type = source.randint(0, 30)


def _other_data(graph: onnx.GraphProto, source: random.Random) -> None:
    tensor = _some(graph.initializer, source)
    if tensor is not None:
        tensor.raw_data = damaged(tensor.raw_data, source)


def _no_initializer(graph: onnx.GraphProto, source: random.Random) -> None:
    if graph.initializer:
        del graph.initializer[source.randrange(len(graph.initializer))]


def _other_operator(graph: onnx.GraphProto, source: random.Random) -> None:
    node = _some(graph.node, source)
    if node is not None:
        node.op_type = source.choice(OPERATORS)


def _other_edge(graph: onnx.GraphProto, source: random.Random) -> None:
    node, other = _some(graph.node, source), _some(graph.node, source)
    if node is not None and node.input and other.output:
        node.input[source.randrange(len(node.input))] = source.choice(other.output)


def _no_node(graph: onnx.GraphProto, source: random.Random) -> None:
    if graph.node:
        del graph.node[source.randrange(len(graph.node))]


def _other_attribute(graph: onnx.GraphProto, source: random.Random) -> None:
    node = _some([node for node in graph.node if node.attribute], source)
    if node is None:
        return
    attribute = _some(node.attribute, source)
    attribute.i = source.choice(NUMBERS)
    if attribute.ints:
        attribute.ints[source.randrange(len(attribute.ints))] = source.choice(NUMBERS)
    if source.random() < 0.3:
        attribute.type = source.randint(0, 14)


def _other_input(graph: onnx.GraphProto, source: random.Random) -> None:
    value = _some([*graph.input, *graph.output], source)
    if value is None:
        return
    value.type.tensor_type.elem_type = source.randint(0, 20)
    if source.random() < 0.5 and value.type.tensor_type.shape.dim:
        source.choice(value.type.tensor_type.shape.dim).dim_value = source.choice(NUMBERS)


def _other_name(graph: onnx.GraphProto, source: random.Random) -> None:
    value = _some([*graph.input, *graph.output, *graph.initializer], source)
    if value is not None:
        value.name = source.choice(("", "images", "logits", "x" * 5000, "\x00", "é"))


ONNX_FAULTS = (
    _other_dim,
    _other_type,
    _other_data,
    _no_initializer,
    _other_operator,
    _other_edge,
    _no_node,
    _other_attribute,
    _other_input,
    _other_name,
)
