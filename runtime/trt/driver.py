"""Whether an engine could be run here, asked before one is built: cuda-python, and a driver for the library's CUDA."""

import ctypes
import importlib.metadata
import importlib.util
import re

from ..artifact.manifest import Backend
from ..errors import MissingError
from .library import DISTRIBUTIONS, INSTALL, MODULES

DRIVERS = {12: "525", 13: "580"}  # the oldest driver of each CUDA, by NVIDIA's release notes of the CUDA toolkit


def has_cuda_python() -> bool:
    """Return whether cuda-python is installed, without loading it."""
    return importlib.util.find_spec("cuda") is not None and importlib.util.find_spec("cuda.bindings") is not None


def cuda_of_driver() -> tuple[int, int] | None:
    """Return the newest CUDA that the driver here takes, as in (13, 0), a compatibility package's if there is one.

    None where no driver can be loaded.
    """
    version = ctypes.c_int()
    try:
        failed = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return None if failed else (version.value // 1000, version.value % 1000 // 10)


def cuda_of_library(backend: Backend) -> int | None:
    """Return the major version of CUDA that an installed library is for; None where its package does not say."""
    for distribution in DISTRIBUTIONS[backend]:
        found = re.search(r"-cu(\d+)\b", distribution)
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        return int(found[1]) if found else None
    return None


def require_run_time(backend: Backend) -> None:
    """Pass where what runs an engine of `backend` is here, as far as can be told without a GPU's context.

    Raises:
        MissingError: cuda-python or a driver is missing, or the driver is older than the library's CUDA.
    """
    if not has_cuda_python():
        raise MissingError(f"the engine is run once it is built, which needs cuda-python; {INSTALL[backend]}")
    driver, wanted = cuda_of_driver(), cuda_of_library(backend)
    if driver is None:
        raise MissingError(
            "the engine is run once it is built, and libcuda.so.1 of NVIDIA's driver cannot be loaded here; in a "
            "container, start it with the GPU's driver (docker run --gpus all)"
        )
    if wanted is not None and driver[0] < wanted:
        newer = f" to {DRIVERS[wanted]} or newer" if wanted in DRIVERS else ""
        other = f", or pip install tensorrt-cu{driver[0]}" if backend is Backend.TENSORRT else ""
        raise MissingError(
            f"{MODULES[backend]} here is for CUDA {wanted}, the driver takes CUDA {driver[0]}.{driver[1]} at most; "
            f"update the driver{newer}{other}"
        )
