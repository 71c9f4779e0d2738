"""TensorRT and TensorRT-RTX, whose Python APIs are one; the only file that loads either of them.

A function that needs the library takes the module as `trt`. What it does with the library's objects is annotated with
the library's own class names, which the tests hold against the real bindings.
"""

import ctypes
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import pathlib
from typing import Any, TypeVar

from ..artifact.manifest import Backend
from ..artifact.versions import numbers_of
from ..errors import DeviceError, MissingError
from .log import logger_of_process, refusal

T = TypeVar("T")
MODULES = {Backend.TENSORRT: "tensorrt", Backend.TENSORRT_RTX: "tensorrt_rtx"}
OLDEST = {Backend.TENSORRT: "10.12", Backend.TENSORRT_RTX: "1.2"}
INSTALL = {
    Backend.TENSORRT: "pip install tensorrt cuda-python",
    Backend.TENSORRT_RTX: (
        "pip install tensorrt-rtx-cu13-bindings==1.7.1.116 onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0 cuda-python"
    ),
}
DISTRIBUTIONS = {  # the packages that carry the bindings, newest CUDA first
    Backend.TENSORRT: ("tensorrt-cu13-bindings", "tensorrt-cu12-bindings", "tensorrt"),
    Backend.TENSORRT_RTX: ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings", "tensorrt-rtx"),
}
# ONNX Runtime's plugin carries TensorRT-RTX's own libraries, the bindings are a package of their own: together they
# are TensorRT-RTX from PyPI alone, where the official package fetches the same libraries from NVIDIA's index.
RTX_BINDINGS = "tensorrt_rtx_bindings"
RTX_LIBRARIES_IN = "onnxruntime_ep_nv_tensorrt_rtx"
RTX_LIBRARIES = ("libtensorrt_rtx", "libtensorrt_onnxparser_rtx")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Library:
    """A loaded library: the module, called `trt` wherever it is used, and its version."""

    backend: Backend
    trt: Any
    version: str


def load_library(backend: Backend) -> Library:
    """Load TensorRT or TensorRT-RTX.

    Raises:
        MissingError: Not installed, older than what this project builds on, or its libraries cannot be loaded.
    """
    try:
        module = importlib.import_module(MODULES[backend])
    except (ImportError, OSError) as error:
        if backend is not Backend.TENSORRT_RTX or importlib.util.find_spec(RTX_BINDINGS) is None:
            raise MissingError(_missing(backend, error)) from error
        module = _rtx_from_pypi()
    version = str(module.__version__)
    if numbers_of(version) < numbers_of(OLDEST[backend]):
        raise MissingError(
            f"{MODULES[backend]} {version} is too old: expected {OLDEST[backend]} or newer; {INSTALL[backend]}"
        )
    return Library(backend=backend, trt=module, version=version)


def _missing(backend: Backend, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == MODULES[backend]:
        return f"{MODULES[backend]} is not installed; {INSTALL[backend]}"
    return f"{MODULES[backend]} cannot be loaded: {error}; {INSTALL[backend]}"


def _rtx_from_pypi() -> Any:
    """Load the bindings on the libraries that ONNX Runtime's plugin carries, of the same version."""
    for name in RTX_LIBRARIES:
        path = rtx_library(name)
        _require_same_version(path)
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)  # the bindings then find it by its soname
    return importlib.import_module(RTX_BINDINGS)


def rtx_library(name: str = RTX_LIBRARIES[0]) -> pathlib.Path:
    """Return where ONNX Runtime's plugin keeps a library of TensorRT-RTX.

    Raises:
        MissingError: It is not installed, or holds no such library.
    """
    spec = importlib.util.find_spec(RTX_LIBRARIES_IN)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    if not folders:
        raise MissingError(f"the libraries of tensorrt_rtx are not installed; {INSTALL[Backend.TENSORRT_RTX]}")
    paths = sorted(pathlib.Path(folders[0]).glob(f"{name}.so.*.*.*"))
    if not paths:
        raise MissingError(f"{folders[0]} holds no {name}; {INSTALL[Backend.TENSORRT_RTX]}")
    return paths[-1]


def _require_same_version(library: pathlib.Path) -> None:
    bindings = installed_version(Backend.TENSORRT_RTX) or "0"
    version = library.name.partition(".so.")[2]
    if numbers_of(bindings)[:3] != numbers_of(version)[:3]:
        raise MissingError(
            f"the bindings are of TensorRT-RTX {bindings}, {library.name} is another version; "
            f"{INSTALL[Backend.TENSORRT_RTX]}"
        )


def installed_version(backend: Backend) -> str | None:
    """Return the version of the installed library without loading it; None where there is none."""
    modules = [MODULES[backend]] + ([RTX_BINDINGS] if backend is Backend.TENSORRT_RTX else [])
    if all(importlib.util.find_spec(module) is None for module in modules):
        return None
    for distribution in DISTRIBUTIONS[backend]:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return str(load_library(backend).version)  # a package that says its version only once it is loaded


def logger_of(library: Library) -> Any:
    """Return the library's one logger, see `log.logger_of_process`."""
    return logger_of_process(library.trt, library.backend.value)


def constructed(kind: Any, what: str, log: Any, *arguments: Any) -> Any:
    """Return `kind(*arguments)`, one of TensorRT's own classes; its factory may answer with null.

    Raises:
        DeviceError: The factory answered with null; with what TensorRT logged last.
    """
    try:
        return kind(*arguments)
    except TypeError as error:
        if "nullptr" not in str(error):  # what the bindings say of null
            raise
        raise DeviceError(refusal(what, log)) from error


def checked(value: T | None, what: str, log: Any) -> T:
    """Return what TensorRT gave, which it may refuse with null or false.

    Raises:
        DeviceError: TensorRT refused; with what it logged last.
    """
    if value is None or value is False:
        raise DeviceError(refusal(what, log))
    log.errors.take()  # of a call that was done: no reason for what is refused later
    return value
