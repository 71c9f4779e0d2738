"""Whether an ONNX file is whole in itself; needs no ONNX library, and looks before any of them sees the bytes.

A tensor may name another file for its values, and ONNX Runtime and TensorRT resolve that name against the current
folder when they are given bytes: somebody else's weights, or any file of this machine, that no hash covers. Files of
ours are whole; every other one is refused, wherever in it the tensor is.

The walk is over protobuf's wire format (protobuf.dev/programming-guides/encoding) by the field numbers of
github.com/onnx/onnx/blob/main/onnx/onnx.proto3; runtime/cpp/src/artifact/self_contained.cpp does the same.
"""

import itertools
from collections.abc import Iterator

from ..errors import InputError

# Message → the fields that lead on to a tensor, and to which message. A test holds them against the onnx package.
CHILDREN = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
TENSOR_NAME, EXTERNAL_DATA, DATA_LOCATION = 8, 13, 14
NODE_TYPE, ENGINE_NODE = 4, b"EPContext"  # a node that names a file with a compiled engine
MOST_NESTED = 100  # protobuf's own limit
# A file of two bytes a field would be walked for a quarter of an hour; the largest models have some ten thousand nodes,
# of some ten fields each.
MOST_FIELDS = 4_000_000
DAMAGED = "is not a model that ONNX Runtime can load: it is damaged or not an ONNX file"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def require_self_contained(content: bytes, name: str) -> None:
    """Refuse an ONNX file that needs another file.

    Args:
        content: The file.
        name: What errors call it.

    Raises:
        InputError: A tensor has its values elsewhere, or a node an engine; or it is damaged, or of another format.
    """
    if content[4:8] == b"ORTM":
        raise InputError(f"{name} is in ONNX Runtime's own format, expected ONNX; export the model again")
    fault = _fault(memoryview(content), "Model", 0, itertools.count(1))
    if fault is not None:
        raise InputError(f"{name} ({len(content)} bytes) {fault}")


def _fault(message: memoryview, kind: str, depth: int, fields: Iterator[int]) -> str | None:
    """Return why `message` cannot be taken; None where it can. `fields` numbers the fields of the whole file."""
    if depth > MOST_NESTED:
        return f"nests more than {MOST_NESTED} deep"
    children = CHILDREN[kind]
    position, name, is_external = 0, "", False
    while position < len(message):
        key, position = varint_at(message, position)
        field, wire = key >> 3, key & 7
        value, end = varint_at(message, position) if wire in (VARINT, BYTES) else (0, position)
        start, end = end, end + {VARINT: 0, BYTES: value, FIXED64: 8, FIXED32: 4}.get(wire, len(message))
        is_cut = not 8 <= key < 1 << 32 or position < 0 or start < 0 or end > len(message)
        if is_cut or next(fields) > MOST_FIELDS:
            return DAMAGED  # or has a group, of which ONNX has none
        position = end
        if wire == BYTES and field in children:
            fault = _fault(message[start:end], children[field], depth + 1, fields)
            if fault is not None:
                return fault
        elif kind == "Tensor":
            name = bytes(message[start:end]).decode(errors="replace")[:60] if field == TENSOR_NAME else name
            is_external |= field == EXTERNAL_DATA or (field == DATA_LOCATION and value != 0)
        elif kind == "Node" and field == NODE_TYPE and bytes(message[start:end][:20]) == ENGINE_NODE:
            return "holds an engine (a node EPContext), expected ONNX operators; export the model again"
    if is_external:
        return (
            f"keeps the values of tensor {name!r} in another file, which no hash covers; save it as one file: "
            "onnx.save(onnx.load(FILE), OUTPUT)"
        )
    return None


def varint_at(message: memoryview, position: int) -> tuple[int, int]:
    """Return the number at `position` and the position behind it, −1 where it has no end."""
    value = 0
    for shift in range(0, 70, 7):
        if not 0 <= position < len(message):
            break
        byte = message[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value & (1 << 64) - 1, position
    return 0, -1
