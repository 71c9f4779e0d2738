"""TensorRT's plugin of fused re-attention, loaded only where it is what its record says (`plugin_record.py`).

What is hashed is what is opened, whatever becomes of the file meanwhile.
"""

import logging
import os
import pathlib
from typing import TYPE_CHECKING, Any

from ..artifact.manifest import EnginePlugin
from ..errors import MissingError
from ..kernels.plugin_record import VARIABLE, PluginRecord, Use, named_plugin, record_of, verified_plugin
from .library import Library

if TYPE_CHECKING:
    import tensorrt

NAME, VERSION, NAMESPACE = "ReAttention", "1", "deepvit"
logger = logging.getLogger(__name__)
_loaded: dict[str, Any] = {}  # hash → TensorRT's handle; a library that is loaded twice would register its layer twice


def load_named_plugin(library: Library, compute_capability: str | None = None) -> PluginRecord | None:
    """Load the plugin that $DEEPVIT_PLUGIN names; where it names none, or one for the other TensorRT, do nothing.

    Raises:
        InputError, MissingError: As `load_plugin`.
    """
    path = named_plugin()
    if path is None or record_of(path).backend != library.backend.value:
        return None
    return load_plugin(library, path, compute_capability=compute_capability)


def require_plugin(
    library: Library, name: str, *, compute_capability: str | None = None, built_with: EnginePlugin | None = None
) -> None:
    """Load the plugin that $DEEPVIT_PLUGIN names for the engine `name`, which needs it.

    Raises:
        InputError: As `load_plugin`.
        MissingError: Likewise; or none is named, and TensorRT has no such layer.
    """
    path = named_plugin()
    if path is not None:
        load_plugin(library, path, compute_capability=compute_capability, built_with=built_with)
    if _registry(library.trt).get_creator(NAME, VERSION, NAMESPACE) is None:
        raise MissingError(
            f"{name} needs the plugin of fused re-attention, and {library.backend.value} has none that takes "
            f"{NAMESPACE}::{NAME}; let {VARIABLE} name its library: make plugin"
        )


def load_plugin(
    library: Library,
    path: pathlib.Path,
    *,
    compute_capability: str | None = None,
    built_with: EnginePlugin | None = None,
) -> PluginRecord:
    """Load the plugin at `path` into TensorRT, for building and for running; once in a process.

    Args:
        library: The TensorRT that is to have it.
        path: The library; its record is beside it.
        compute_capability: Of the GPU that runs it, as in 9.0; None where an engine is built for another machine.
        built_with: What the engine that it is to run was built with, as its manifest says.

    Raises:
        InputError: It is missing, or not what it should be. Nothing was loaded.
        MissingError: It is for another TensorRT, GPU or engine. Nothing was loaded.
    """
    capabilities = () if compute_capability is None else (compute_capability,)
    use = Use(
        backend=library.backend, version=library.version, compute_capabilities=capabilities, built_with=built_with
    )
    record, content = verified_plugin(path, use)
    if built_with is not None and built_with.sha256 != record.sha256:
        logger.info("%s has the kernels that the engine was built with, and is another build of them", path)
    if record.sha256 not in _loaded:
        _loaded[record.sha256] = _opened(library, path, content)
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
