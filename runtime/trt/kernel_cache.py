"""What TensorRT-RTX compiles when an engine runs: in time for CUDA graphs, and kept on disk for the next process.

A plan of TensorRT-RTX holds no kernels of the GPU that it runs on. Left alone, the library answers a batch size that it
meets first with generic kernels, and compiles those made for it meanwhile: a CUDA graph of the second run records the
generic ones for good. Here each batch size's first run waits for its own (EAGER), so that our graph holds them. The
library's own graphs (WHOLE_GRAPH_CAPTURE) wait for them too, but are younger than the oldest TensorRT-RTX that this
runs on.

Compiled kernels are code, kept where nobody else can write (`files.cache_folder`).
"""

import contextlib
import hashlib
import logging
import pathlib
import re
import threading
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..files import cache_folder, read_bounded, replaced
from .library import Library, checked

if TYPE_CHECKING:
    import tensorrt_rtx

    from .cuda import Cuda

logger = logging.getLogger(__name__)
FOLDER = "kernels"
MAGIC = b"deepvit kernels 1\n"
MAX_BYTES = 256 << 20  # of a file
MOST_FILES = 64  # in the folder; the one written longest ago goes


def kernel_cache_path(plan_sha256: str, version: str, cuda: "Cuda") -> pathlib.Path | None:
    """Return where the kernels of a plan are kept; None, with a warning, where they cannot be.

    The C++ runtime has the same place (cpp/src/cache/kernel_cache.cpp).

    Args:
        plan_sha256: The plan's hash, in hexadecimal digits.
        version: Of TensorRT-RTX.
        cuda: The GPU, which also knows the driver.
    """
    parts = (plan_sha256, version, cuda.gpu, cuda.compute_capability, f"cuda-{cuda.driver}")
    name = "_".join(re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-") for part in parts)
    try:
        return cache_folder(FOLDER) / f"{name}.cache"
    except InputError as error:
        logger.warning("compiled kernels are not kept, every process compiles them again: %s", error)
        return None


def read_kernels(path: pathlib.Path) -> bytes | None:
    """Return what `write_kernels` wrote to `path`; None where nothing is there, or with a warning something else."""
    if not path.exists():
        return None
    try:
        content = read_bounded(path, MAX_BYTES, "a cache of kernels")
    except InputError as error:
        logger.warning("compiled kernels are not used: %s", error)
        return None
    start = len(MAGIC) + hashlib.sha256().digest_size
    kernels = content[start:]
    if content[:start] != MAGIC + _digest(path, kernels):
        logger.warning("compiled kernels in %s are not used: they are damaged, or of another file", path)
        return None
    return kernels


def write_kernels(path: pathlib.Path, kernels: bytes) -> None:
    """Replace `path` in one step, and remove what was written longest ago where there are too many.

    Raises:
        OSError: It cannot be written.
    """
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is no file")
    with replaced(path) as staged:
        staged.write_bytes(b"")
        staged.chmod(0o600)
        staged.write_bytes(MAGIC + _digest(path, kernels) + kernels)
    with contextlib.suppress(FileNotFoundError):  # another process removes them as well
        written = [(each.stat().st_mtime_ns, each) for each in path.parent.glob("*.cache") if each.is_file()]
        for _, each in sorted(written)[:-MOST_FILES]:
            each.unlink()


def _digest(path: pathlib.Path, kernels: bytes) -> bytes:
    """Return a hash that also tells one file's content from another's."""
    return hashlib.sha256(path.name.encode() + b"\n" + kernels).digest()


class Kernels:
    """How the contexts of a TensorRT-RTX engine are made, and what is compiled for them.

    Args:
        engine: The engine, which must outlive this.
        library: TensorRT-RTX.
        log: Its log.
        path: Where the kernels are kept; None: nowhere.

    Raises:
        DeviceError: TensorRT-RTX refused.
    """

    def __init__(
        self, engine: "tensorrt_rtx.ICudaEngine", library: Library, log: Any, path: pathlib.Path | None
    ) -> None:
        trt = library.trt
        self.config: tensorrt_rtx.IRuntimeConfig = checked(
            engine.create_runtime_config(), "make a configuration for running", log
        )
        self.config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        eager = library.trt.DynamicShapesKernelSpecializationStrategy.EAGER
        self.config.dynamic_shapes_kernel_specialization_strategy = eager
        self._cache: tensorrt_rtx.IRuntimeCache = checked(
            self.config.create_runtime_cache(), "make a cache of kernels", log
        )
        self._path, self._log = path, log
        self._kept = self._load()
        checked(self.config.set_runtime_cache(self._cache), "use a cache of kernels", log)
        self._batches: set[int] = set()
        self.is_changed = False
        self.writing = threading.Lock()

    def _load(self) -> bytes | None:
        kernels = None if self._path is None else read_kernels(self._path)
        if kernels is None:
            return None
        if not self._cache.deserialize(kernels):
            why = self._log.errors.take() or "TensorRT-RTX does not say why"
            logger.warning("compiled kernels in %s are not used: %s", self._path, why)
            return None
        return hashlib.sha256(kernels).digest()

    def has_run(self, batch: int) -> None:
        """Take note that a batch size was run, for which kernels were compiled if it was the first time."""
        if batch not in self._batches:
            self._batches.add(batch)
            self.is_changed = self._path is not None

    def content(self) -> bytes | None:
        """Return all kernels. Nothing may run meanwhile: nobody says that the library's cache can be read then."""
        self.is_changed = False
        serialized: tensorrt_rtx.IHostMemory | None = self._cache.serialize()
        return None if serialized is None else bytes(serialized)

    def write(self, content: bytes | None) -> None:
        """Write kernels to disk if they are not there; a warning tells that it cannot be, and is the last try."""
        if self._path is None:
            return
        try:
            if content is None:
                raise OSError(self._log.errors.take() or "TensorRT-RTX does not give them")
            if len(content) > MAX_BYTES:
                raise OSError(f"they have {len(content)} bytes, at most {MAX_BYTES} are kept")
            digest = hashlib.sha256(content).digest()
            if digest != self._kept:
                write_kernels(self._path, content)
            self._kept = digest
        except OSError as error:
            logger.warning("compiled kernels cannot be kept in %s: %s", self._path, error)
            self._path = None
