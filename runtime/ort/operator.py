"""ONNX Runtime's operator of fused re-attention on CUDA, handed out only where it is what its record says.

A library is code: opening it runs it. What is hashed is what is opened, whatever becomes of the file meanwhile.
$DEEPVIT_OPERATOR names the library (runtime/cpp/operator); without it the node's body in the file is computed.
"""

import hashlib
import os
import pathlib

from ..errors import InputError
from ..files.bounded import read_bounded
from ..kernels.plugin_record import LAYER, MOST_BYTES, record_of

VARIABLE = "DEEPVIT_OPERATOR"
BACKEND = "onnxruntime"
NODE = b"ReAttention"
_opened: dict[str, int] = {}  # hash → descriptor, which stays open: a later one of its number would be taken for it


def operator_for(content: bytes) -> str | None:
    """Return the library that $DEEPVIT_OPERATOR names, by a path to its verified bytes, for a graph that has the node.

    Raises:
        InputError: It is missing, not what its record says, or another library.
    """
    name = os.environ.get(VARIABLE)
    if not name or NODE not in content:
        return None
    path = pathlib.Path(name)
    record, library = record_of(path), read_bounded(path, MOST_BYTES, "an operator's library")
    found = hashlib.sha256(library).hexdigest()
    again = f"build it again: make operator, and let {VARIABLE} name it"
    if found != record.sha256:
        raise InputError(f"{path} has SHA-256 {found}, {path.with_suffix('.json')} says {record.sha256}; {again}")
    if (record.backend, record.layer) != (BACKEND, LAYER):
        raise InputError(f"{path} is {record.layer} for {record.backend}, expected {LAYER} for {BACKEND}; {again}")
    if found not in _opened:
        _opened[found] = os.memfd_create(path.name)
        with open(_opened[found], "wb", closefd=False) as stream:
            stream.write(library)
    return f"/proc/self/fd/{_opened[found]}"
