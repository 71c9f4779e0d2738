"""Safetensors files: a length, a JSON header, the tensors' bytes. Every number is checked before it is used.

The format: github.com/huggingface/safetensors, "Format".
"""

import itertools
import json
import math
import mmap

import torch

from deepvit.runtime.errors import InputError

from .pickled_child import COUNTER, EXPECTED, FLOATS, INTEGERS, MOST_DIMENSIONS, first_of

DTYPES = {name: dtype for dtype, name in (FLOATS | INTEGERS).items()}
MOST_HEADER_BYTES = 16 << 20
MOST_VALUES = 1 << 40
METADATA = "__metadata__"


def parse_tensors(content: bytearray | mmap.mmap, name: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file by name; they share the memory of `content`.

    Args:
        content: The file.
        name: What errors call it.

    Raises:
        InputError: Not such a file, or with tensors that are no weights, all of them by name.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(len(content) - 8, MOST_HEADER_BYTES):
        raise InputError(
            f"{name} is not a valid safetensors file: a header of {length} bytes in {len(content)}; download or save "
            "it again"
        )
    header = _header(bytes(content[8 : 8 + length]), name)
    data = len(content) - 8 - length
    strange = [f"{key:.60} ({why})" for key, entry in header.items() if (why := _strangeness(key, entry, data))]
    if strange:
        raise InputError(f"{name} is not a valid safetensors file of weights: {first_of(strange)}; {EXPECTED}")
    spans = sorted(tuple(entry["data_offsets"]) for entry in header.values())
    edges = [(0, 0), *spans, (data, data)]
    if any(before[1] != after[0] for before, after in itertools.pairwise(edges)):
        raise InputError(
            f"{name} is not a valid safetensors file: its tensors overlap or leave gaps in its {data} bytes of data; "
            "download or save it again"
        )
    return {key: _tensor(content, 8 + length, entry) for key, entry in header.items()}


def _header(text: bytes, name: str) -> dict[str, dict[str, list[int]]]:
    try:
        header = dict(json.loads(text, object_pairs_hook=_unique))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{name} is not a valid safetensors file: {error!s:.200}; download or save it again"
        ) from error
    header.pop(METADATA, None)
    return header


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in the header")
    return found


def _strangeness(name: str, entry: object, data: int) -> str | None:
    """Return what is wrong with an entry of the header, of a file with `data` bytes of tensors; None for a good one."""
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        return "no dtype, shape and data_offsets"
    dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES or (dtype[0] in "IU" and not name.endswith(COUNTER)):
        return f"{dtype!s:.20}"
    # With sizes of 0 taken as 1, as PyTorch does in computing strides.
    if not _is_sizes(shape) or len(shape) > MOST_DIMENSIONS or math.prod(max(1, size) for size in shape) > MOST_VALUES:
        return f"shape {shape!s:.60}"
    expected = math.prod(shape) * DTYPES[dtype].itemsize
    if not _is_sizes(span) or len(span) != 2 or span[1] > data or span[1] - span[0] != expected:
        return f"{expected} bytes at {span!s:.60}"
    return None


def _is_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 63 for size in value)


def _tensor(content: bytearray | mmap.mmap, base: int, entry: dict[str, list[int]]) -> torch.Tensor:
    dtype, (begin, end) = DTYPES[str(entry["dtype"])], entry["data_offsets"]
    if begin == end:
        return torch.empty(entry["shape"], dtype=dtype)
    values = torch.frombuffer(content, dtype=torch.uint8, count=end - begin, offset=base + begin)
    if (base + begin) % dtype.itemsize:
        values = values.clone()  # PyTorch reads aligned memory alone as another type
    return values.view(dtype).reshape(entry["shape"])
