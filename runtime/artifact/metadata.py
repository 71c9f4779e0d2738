"""What an ONNX file says of itself beside its graph; needs no ONNX library, and looks before any of them does."""

from collections.abc import Iterator

from ..errors import InputError
from .manifest import IDENTITY, VERSION, Identity, parse_identity
from .self_contained import BYTES, DAMAGED, FIXED32, FIXED64, VARINT, varint_at

PROPERTIES = 14  # of a model, by onnx.proto3; a test holds them against the onnx package
KEY, VALUE = 1, 2  # of a property


def identity_in(content: bytes, name: str) -> Identity | None:
    """Return what an ONNX file says of its graph; None where it says nothing.

    Args:
        content: The file.
        name: What errors call it.

    Raises:
        InputError: It is damaged, or says it otherwise than an export does.
    """
    said = metadata_of(content, name).get(IDENTITY)
    return None if said is None else parse_identity(said, name)


def metadata_of(content: bytes, name: str) -> dict[str, str]:
    """Return what an ONNX file has in its metadata under the keys of ours; see `identity_in`."""
    found: dict[str, str] = {}
    try:
        for message in _fields(memoryview(content), PROPERTIES):
            key = b"".join(_fields(message, KEY)).decode(errors="replace")
            if key not in (IDENTITY, VERSION):
                continue
            if key in found:  # who reads it may take the first or the last
                raise InputError(f"{name} has {key!r} in its metadata twice; export again")
            found[key] = b"".join(_fields(message, VALUE)).decode()
    except EOFError as error:
        raise InputError(f"{name} {DAMAGED}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name} has metadata that are not UTF-8; export again") from error
    return found


def _fields(message: memoryview, number: int) -> Iterator[memoryview]:
    """Yield what the fields `number` of a message hold, which are bytes.

    Raises:
        EOFError: The message is damaged.
    """
    position = 0
    while position < len(message):
        key, start = varint_at(message, position)
        wire = key & 7
        size = {VARINT: 0, FIXED64: 8, FIXED32: 4}.get(wire, len(message) + 1)
        if wire in (VARINT, BYTES):
            value, start = varint_at(message, start)
            size = value if wire == BYTES else 0
        position = start + size
        if start < 0 or position > len(message):
            raise EOFError
        if wire == BYTES and key >> 3 == number:
            yield message[start:position]
