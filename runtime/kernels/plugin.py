"""TensorRT's plugin of fused re-attention: held against its record, and loaded only where it is what that says.

A library is code: opening it runs it. What is hashed here is what is opened, whatever becomes of the file meanwhile.
$DEEPVIT_PLUGIN names the library with which engines are built and run.
"""

import hashlib
import json
import os
import pathlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from ..errors import InputError, MissingError
from ..files.bounded import read_bounded
from ..trt.library import Library
from ..trt.versions import numbers_of

if TYPE_CHECKING:
    import tensorrt

LAYER = "deepvit::ReAttention/1"  # namespace, name and version of what graphs ask for
NAME, VERSION, NAMESPACE = "ReAttention", "1", "deepvit"
VARIABLE = "DEEPVIT_PLUGIN"
MOST_BYTES = 256 << 20
MOST_BYTES_OF_RECORD = 1 << 20
Sha256 = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]
_loaded: dict[str, Any] = {}  # hash → TensorRT's handle; a library that is loaded twice would register its layer twice


class PluginRecord(pydantic.BaseModel, frozen=True, extra="forbid", strict=True):
    """What a built library says of itself, in the JSON beside it (runtime/cpp/plugin/write_record.py)."""

    schema_: Literal[1] = pydantic.Field(alias="schema")
    file: str
    bytes: int
    sha256: Sha256
    layer: str
    backend: Literal["tensorrt", "tensorrt-rtx"]
    backend_major: int
    kernels_sha256: Sha256
    compute_capabilities: list[Annotated[str, pydantic.Field(pattern=r"^\d+\.\d+$")]]

    def serves(self, compute_capability: str) -> bool:
        """Return whether it has kernels for a GPU: machine code also runs on later ones of its major version."""
        major, minor = numbers_of(compute_capability)[:2]
        own = [numbers_of(each) for each in self.compute_capabilities]
        return any(each[0] == major and each[1] <= minor for each in own)


def record_of(path: pathlib.Path) -> PluginRecord:
    """Return the record beside a library.

    Raises:
        InputError: There is none, or it is not one.
    """
    beside = path.with_suffix(".json")
    content = read_bounded(beside, MOST_BYTES_OF_RECORD, "a plugin's record")
    try:
        return PluginRecord.model_validate(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{beside} is no record of a plugin; build it again: make plugin") from error


def load_named_plugin(library: Library, compute_capability: str | None = None) -> None:
    """Load the plugin that $DEEPVIT_PLUGIN names; where it names none, or one for the other TensorRT, do nothing.

    Raises:
        InputError, MissingError: As `load_plugin`.
    """
    if name := os.environ.get(VARIABLE):
        path = pathlib.Path(name)
        if record_of(path).backend == library.backend.value:
            load_plugin(library, path, compute_capability=compute_capability)


def require_layer(library: Library, name: str) -> None:
    """Refuse the engine `name`, which needs the layer, where TensorRT does not have it.

    Raises:
        MissingError: It has not.
    """
    if _registry(library.trt).get_creator(NAME, VERSION, NAMESPACE) is None:
        raise MissingError(
            f"{name} needs the plugin of fused re-attention, and {library.backend.value} has none that takes "
            f"{NAMESPACE}::{NAME}; let {VARIABLE} name its library: make plugin"
        )


def load_plugin(
    library: Library, path: pathlib.Path, *, sha256: str | None = None, compute_capability: str | None = None
) -> PluginRecord:
    """Load the plugin at `path` into TensorRT, for building and for running; once in a process.

    Args:
        library: The TensorRT that is to have it.
        path: The library; its record is beside it.
        sha256: What the library's has to be besides, as an artifact's manifest says.
        compute_capability: Of the GPU that runs it, as in 9.0; None where an engine is built for another machine.

    Raises:
        InputError: It is missing, or not what it should be. Nothing was loaded.
        MissingError: It is for another TensorRT or another GPU. Nothing was loaded.
    """
    record = record_of(path)
    content = read_bounded(path, MOST_BYTES, "a plugin")
    found = hashlib.sha256(content).hexdigest()
    for expected, who in ((record.sha256, f"{path.with_suffix('.json')} says"), (sha256, "expected")):
        if expected is not None and found != expected:
            raise InputError(f"{path} has SHA-256 {found}, {who} {expected}; build it again: make plugin")
    if record.layer != LAYER:
        raise InputError(f"{path} has the layer {record.layer}, expected {LAYER}; build it again: make plugin")
    own = (library.backend.value, numbers_of(library.version)[0])
    if (record.backend, record.backend_major) != own:
        raise MissingError(
            f"{path} is for {record.backend} {record.backend_major}, here is {own[0]} {own[1]}; "
            "build it with the headers of that: make plugin TENSORRT_INCLUDE=DIR"
        )
    if compute_capability is not None and not record.serves(compute_capability):
        raise MissingError(
            f"{path} has kernels for GPUs of compute capability {', '.join(record.compute_capabilities)}, "
            f"this one is {compute_capability}; build the engine of a graph without the fused layer"
        )
    if found not in _loaded:
        _loaded[found] = _opened(library, path, content)
    return record


def _opened(library: Library, path: pathlib.Path, content: bytes) -> Any:
    """Return TensorRT's handle of a library, opened from memory.

    The descriptor stays open: a later library of the same number would have this one's name, and be taken for it.
    """
    descriptor = os.memfd_create(path.name)
    with open(descriptor, "wb", closefd=False) as stream:
        stream.write(content)
    handle = _registry(library.trt).load_library(f"/proc/self/fd/{descriptor}")
    if handle is None:
        os.close(descriptor)
        raise MissingError(f"{library.backend.value} {library.version} cannot load {path}")
    return handle


def _registry(trt: Any) -> "tensorrt.IPluginRegistry":
    registry: tensorrt.IPluginRegistry = trt.get_plugin_registry()
    return registry
