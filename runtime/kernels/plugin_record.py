"""A plugin's library and the record beside it: what it is, and whether it is for this TensorRT, GPU and engine.

A library is code: opening it runs it, so all of this is asked before. $DEEPVIT_PLUGIN names the library with which
engines are built and run; whoever sets it trusts that file, as they trust TensorRT's own.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Annotated, Literal

import pydantic

from ..artifact.manifest import Backend, EnginePlugin, Sha256
from ..artifact.versions import numbers_of
from ..errors import InputError, MissingError
from ..files.bounded import read_bounded

LAYER = "deepvit::ReAttention/1"  # namespace, name and version of what graphs ask for
VARIABLE = "DEEPVIT_PLUGIN"
NO_PLUGIN = f"fused re-attention needs its plugin where an engine is built and run: let {VARIABLE} name its library"
MOST_BYTES = 256 << 20
MOST_BYTES_OF_RECORD = 1 << 20


class PluginRecord(pydantic.BaseModel, frozen=True, extra="forbid", strict=True):
    """What a built library says of itself, in the JSON beside it (runtime/cpp/plugin/write_record.py)."""

    schema_: Literal[1] = pydantic.Field(alias="schema")
    file: str
    bytes: int
    sha256: Sha256
    layer: str
    backend: Literal["tensorrt", "tensorrt-rtx", "onnxruntime"]
    backend_major: int
    kernels_sha256: Sha256
    compute_capabilities: list[Annotated[str, pydantic.Field(pattern=r"^\d+\.\d+$")]]

    def serves(self, compute_capability: str) -> bool:
        """Return whether it has kernels for a GPU: machine code also runs on later ones of its major version."""
        major, minor = numbers_of(compute_capability)[:2]
        own = [numbers_of(each) for each in self.compute_capabilities]
        return any(each[0] == major and each[1] <= minor for each in own)

    @property
    def of_engine(self) -> EnginePlugin:
        """What the manifest keeps of it for an engine that was built with it."""
        return EnginePlugin(sha256=self.sha256, kernels_sha256=self.kernels_sha256, layer=self.layer)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Use:
    """What a plugin is wanted for.

    Attributes:
        backend: The library that loads it.
        version: Of that library.
        compute_capabilities: Of the GPUs that run it, as in 9.0; none where they are not known.
        built_with: What the engine that it runs was built with; None where one is built, or its manifest does not say.
    """

    backend: Backend
    version: str
    compute_capabilities: tuple[str, ...] = ()
    built_with: EnginePlugin | None = None


def named_plugin() -> pathlib.Path | None:
    """Return the library that $DEEPVIT_PLUGIN names; None where it names none."""
    name = os.environ.get(VARIABLE)
    return pathlib.Path(name) if name else None


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


def verified_plugin(path: pathlib.Path, use: Use) -> tuple[PluginRecord, bytes]:
    """Return a library's record and its bytes, where it is what that says and fits `use`.

    Its SHA-256 has to be its record's. Of the engine's plugin the kernels' SHA-256 has to be the same, not the
    library's: the kernels are what computes and what was timed, and TensorRT's plan holds their hash too, while the
    code around them may have been compiled again, by another compiler or for the TensorRT that runs a
    version-compatible plan.

    Raises:
        InputError: It is missing, or not what its record says, or has another layer.
        MissingError: It is for another TensorRT or GPU, or has other kernels than the engine was built with.
    """
    record = record_of(path)
    content = read_bounded(path, MOST_BYTES, "a plugin")
    found = hashlib.sha256(content).hexdigest()
    if found != record.sha256:
        raise InputError(
            f"{path} has SHA-256 {found}, {path.with_suffix('.json')} says {record.sha256}; build it again: make plugin"
        )
    layer = LAYER if use.built_with is None else use.built_with.layer
    if record.layer != layer:
        raise InputError(f"{path} has the layer {record.layer}, expected {layer}; build it again: make plugin")
    own = (use.backend.value, numbers_of(use.version)[0])
    if (record.backend, record.backend_major) != own:
        raise MissingError(
            f"{path} is for {record.backend} {record.backend_major}, here is {own[0]} {own[1]}; "
            "build it with the headers of that: make plugin TENSORRT_INCLUDE=DIR"
        )
    if other := [each for each in use.compute_capabilities if not record.serves(each)]:
        raise MissingError(
            f"{path} has kernels for GPUs of compute capability {', '.join(record.compute_capabilities)}, "
            f"not {', '.join(other)}; build the engine of a graph without the fused layer"
        )
    if use.built_with is not None and use.built_with.kernels_sha256 != record.kernels_sha256:
        raise MissingError(
            f"{path} has kernels of SHA-256 {record.kernels_sha256}, the engine was built with "
            f"{use.built_with.kernels_sha256}; let {VARIABLE} name that library, or build the engine again"
        )
    return record, content


def why_no_plugin(use: Use) -> str | None:
    """Return in words why no plugin is at hand for `use`; None where the named one fits."""
    path = named_plugin()
    if path is None:
        return NO_PLUGIN
    try:
        verified_plugin(path, use)
    except (InputError, MissingError) as error:
        return str(error)
    return None
