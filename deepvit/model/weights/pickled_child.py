"""A program, run in a process of its own: a pickle of weights on standard input → its plain tensors, as safetensors.

What it reads may be hostile: made to run code, to take all memory, or never to end. `weights_only=True` and the closed
list `ALLOWED_TYPES` see to the first, limits of this process to the rest. It imports nothing of ours, so that it is
ready as soon as PyTorch is, and says on standard output, as JSON, which entry it took or why it refused.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import resource
import sys
import tarfile
import zipfile
from collections.abc import Mapping

import torch

# What a training checkpoint may hold beyond tensors and plain containers.
ALLOWED_TYPES = (argparse.Namespace, collections.OrderedDict, collections.defaultdict, dict)
EMA_ENTRIES = ("state_dict_ema", "model_ema")
PLAIN_ENTRIES = ("state_dict", "model")
NAMES_SHOWN = 8  # of each kind of mismatch; a deepvit_32 has 616 entries
MOST_DIMENSIONS = 8
COUNTER = "num_batches_tracked"  # of BatchNorm: the one entry that is no floating-point number
FLOATS = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
INTEGERS = {torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8"}
EXPECTED = (
    "expected dense tensors of float16, bfloat16, float32 or float64, integers as num_batches_tracked alone; save it "
    "again as a plain state dict"
)
CANNOT_START = 3  # exit code

MEMORY_BYTES, MEMORY_PER_BYTE = 256 << 20, 2  # beyond PyTorch itself: the file's contents, and copies of them
CPU_SECONDS, CPU_BYTES_PER_SECOND = 5, 20_000_000


class RefusedError(Exception):
    """Why these are no weights: "holds a list, expected a state dict"."""


def cpu_seconds(size: int) -> int:
    """Return how long a file of `size` bytes may be computed on."""
    return CPU_SECONDS + size // CPU_BYTES_PER_SECOND


def _limit(size: int) -> None:
    """Take from this process what a file of `size` bytes does not need."""
    mapped = int(pathlib.Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    for kind, most in (
        (resource.RLIMIT_AS, mapped + MEMORY_BYTES + MEMORY_PER_BYTE * size),
        (resource.RLIMIT_CPU, used + cpu_seconds(size)),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def load_pickle(path: str, size: int) -> object:
    """Return what `path`, of `size` bytes, holds.

    Raises:
        RefusedError: It cannot be read, or not safely.
    """
    try:
        _refuse_archives(path, size)
        with torch.serialization.safe_globals(list(ALLOWED_TYPES)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except RefusedError:
        raise
    # What zipfile and torch.load raise on hostile bytes depends on where the damage is: struct.error, AssertionError….
    except Exception as error:
        raise RefusedError(_why(error)) from error


def _refuse_archives(path: str, size: int) -> None:
    """Refuse archives that PyTorch does not write for weights, before it sees them."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
            is_script = any(name.endswith("/constants.pkl") for name in archive.namelist())
        if is_script:
            raise RefusedError("is a TorchScript archive, which holds code; save the module's state_dict() instead")
        if unpacked > size:  # PyTorch stores its archives uncompressed: these contents were put there to hurt
            raise RefusedError(
                f"would unpack to {unpacked} bytes from {size}; expected an uncompressed PyTorch archive; save it "
                "again with torch.save"
            )
    elif tarfile.is_tarfile(path):
        raise RefusedError(
            "is a tar archive, as PyTorch 0.1 wrote them; load it there and save it again with torch.save"
        )


def _why(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = next((line for line in lines if "GLOBAL " in line or "global " in line), "")
    if match := re.search(r"GLOBAL (\S+)|global (\S+)", text):
        name = (match[1] or match[2]).rstrip(".")[:100]
        return (
            f"refers to {name}, which weights do not need and which could run code; nothing was run; save it again as "
            "a plain state dict"
        )
    # PyTorch's own advice is to load without its protection.
    shown = lines[0][:200] if lines and "weights_only" not in str(error) else ""
    return f"is truncated or not a PyTorch checkpoint: {shown or type(error).__name__}; download or save it again"


def select_entry(content: object, prefers_ema: bool) -> tuple[str, Mapping[object, object]]:
    """Return the state dict within a checkpoint, and the name of the entry that holds it; "" for a plain one.

    Raises:
        RefusedError: There is none, or not the one asked for.
    """
    if not isinstance(content, Mapping):
        raise RefusedError(f"holds a {type(content).__name__}, expected a state dict")
    for entry in (*EMA_ENTRIES, *PLAIN_ENTRIES) if prefers_ema else PLAIN_ENTRIES:
        if isinstance(found := content.get(entry), Mapping) and found:
            return entry, found
    if not prefers_ema and any(entry in content for entry in EMA_ENTRIES):
        raise RefusedError("holds averaged weights alone; leave out ‹no_ema› to take them")
    return "", content


def first_of(texts: list[str]) -> str:
    """Return the first `NAMES_SHOWN` of `texts`, sorted, and how many there are besides."""
    more = f" and {len(texts) - NAMES_SHOWN} more" if len(texts) > NAMES_SHOWN else ""
    return ", ".join(sorted(texts)[:NAMES_SHOWN]) + more


def plain_tensors(state: Mapping[object, object], size: int) -> dict[str, torch.Tensor]:
    """Return the tensors of `state`, of a file of `size` bytes.

    Raises:
        RefusedError: Something else is among them, or a tensor of another kind, all of it by name.
    """
    tensors: dict[str, torch.Tensor] = {}
    foreign: list[str] = []
    for key, value in state.items():
        if isinstance(key, str) and type(value) in (torch.Tensor, torch.nn.Parameter):
            tensors[key] = value  # type: ignore[assignment]
        else:
            foreign.append(f"{key!s:.60} ({type(value).__name__})")
    if foreign or not tensors:
        raise RefusedError(f"is no state dict of tensors; it holds {first_of(foreign) if foreign else 'nothing'}")
    strange = [f"{name:.60} ({why})" for name, tensor in tensors.items() if (why := _strangeness(name, tensor, size))]
    if strange:
        raise RefusedError(f"has entries that are no weights: {first_of(strange)}; {EXPECTED}")
    total = sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())
    if total > size:
        raise RefusedError(f"has tensors of {total} bytes in all and {size} bytes in the file; {EXPECTED}")
    return tensors


def _strangeness(name: str, tensor: torch.Tensor, size: int) -> str | None:
    """Return what `tensor` has that weights in a file of `size` bytes do not; None for weights."""
    is_known = tensor.dtype in FLOATS or (tensor.dtype in INTEGERS and name.endswith(COUNTER))
    if not is_known or tensor.is_quantized:
        return str(tensor.dtype).removeprefix("torch.")
    if tensor.layout is not torch.strided or tensor.is_nested:
        return "nested" if tensor.layout is torch.strided else str(tensor.layout).removeprefix("torch.")
    if tensor.device.type != "cpu":
        return f"on the {tensor.device.type} device"
    if tensor.ndim > MOST_DIMENSIONS:
        return f"{tensor.ndim} dimensions"
    if tensor.numel() * tensor.itemsize > size:
        return f"{tensor.numel()} values, more than the file holds"
    return None


def write_tensors(tensors: Mapping[str, torch.Tensor], descriptor: int) -> None:
    """Write a safetensors file; the widest types first, so that all of them are aligned."""
    ordered = sorted(tensors.items(), key=lambda item: -item[1].itemsize)
    header: dict[str, object] = {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.itemsize
        dtype = (FLOATS | INTEGERS)[tensor.dtype]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(descriptor, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in ordered:
            values = tensor.detach().resolve_neg().contiguous()
            values.reshape(-1).view(torch.uint8).numpy().tofile(stream)


def main(ema: str, descriptor: str) -> None:
    """Take the state dict out of standard input, a regular file, into the file of `descriptor`."""
    size = os.fstat(0).st_size
    torch.set_num_threads(1)
    try:
        _limit(size)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"its limits cannot be set: {error}")
        sys.exit(CANNOT_START)
    try:
        entry, state = select_entry(load_pickle("/proc/self/fd/0", size), ema == "prefer")
        write_tensors(plain_tensors(state, size), int(descriptor))
        answer = {"entry": entry}
    except RefusedError as refused:
        answer = {"refused": str(refused)}
    except Exception as error:  # noqa: BLE001 - what hostile objects raise when looked at: MemoryError, RecursionError…
        answer = {"refused": _why(error)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
