"""A TensorRT that runs one kernel, for our run-time on a machine without TensorRT: what is proved is everything around it.

Its objects are those of the tests' own TensorRT, whose names, parameters and order of calls are held against the real
bindings; only what is put on the stream is another's: the kernel of the place, a GPU or the fake one.
"""

import contextlib
import ctypes
import enum
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deepvit.runtime.artifact.manifest import Backend
from deepvit.runtime.trt.engine import LEASES, EngineOnGpu
from deepvit.runtime.trt.library import Library
from tests.doubles import fake_gpu

from .places import Place

Array = npt.NDArray[np.float32]


class Fault(enum.Enum):
    """What goes wrong while a graph is recorded."""

    REFUSED = "refused"  # memory is allocated, and TensorRT says that it failed
    SILENT = "silent"  # memory is allocated, and TensorRT says that all is well


class _Context(fake_gpu.Context):
    def execute_async_v3(self, stream_handle: int) -> bool:
        engine, place = self.engine, self.engine.place
        engine.calls += 1
        if place.is_capturing(stream_handle):
            self.is_frozen = True
            if engine.fault is not None:
                place.spoil_capture(stream_handle)
                return engine.fault is Fault.SILENT
        assert self.shape is not None
        batch, *rest = self.shape
        addresses = (self.addresses["images"], self.addresses["logits"], self.scratch)
        place.launch(stream_handle, batch, addresses, (int(np.prod(rest)), engine.classes), engine.nanoseconds)
        return True


class _Engine(fake_gpu.Engine):
    def __init__(
        self, plan: bytes, place: Place, fault: Fault | None, nanoseconds: int, most: int, **sizes: int
    ) -> None:
        super().__init__(plan, profile=(1, min(8, most), most), **sizes)
        self.place, self.fault, self.nanoseconds, self.calls = place, fault, nanoseconds, 0
        self.device_memory_size_v2 = most * self.classes * 4

    def create_execution_context(self, strategy: object) -> _Context:
        super().create_execution_context(strategy)
        return _Context(self)


class Counted:
    """A device that counts what it lent and was not given back, by the name of the call that lends it."""

    GIVE_BACK = {
        "free": "allocate",
        "free_pinned": "allocate_pinned",
        "destroy_stream": "create_stream",
        "destroy_event": "create_event",
        "destroy_graph": "end_capture",
    }

    def __init__(self, cuda: Any) -> None:
        self._cuda, self._lock = cuda, threading.Lock()
        self.lent: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cuda, name)
        lends = self.GIVE_BACK.get(name, name)
        if lends not in self.GIVE_BACK.values():
            return found

        def counted(*arguments: object) -> object:
            given = found(*arguments)
            with self._lock:
                self.lent[lends] += 1 if name == lends else -1
            return given

        return counted


@contextlib.contextmanager
def opened(
    place: Place,
    *,
    cuda: Any = None,
    leases: int = LEASES,
    fault: Fault | None = None,
    nanoseconds: int = 0,
    most: int = 64,
    side: int = 32,
    classes: int = 5,
) -> Iterator[EngineOnGpu]:
    """Give an engine of the stand-in: images (B, 3, side, side) → `expected` logits (B, classes), B ≤ `most`."""

    class Runtime(fake_gpu.Runtime):
        def deserialize_cuda_engine(self, serialized_engine: bytes) -> _Engine:
            return _Engine(serialized_engine, place, fault, nanoseconds, most, side=side, classes=classes)

    module = fake_gpu.fake_library().trt
    module.Runtime = Runtime
    library = Library(backend=Backend.TENSORRT, trt=module, version="stand-in")
    engine = EngineOnGpu(fake_gpu.PLAN, library, cuda or place.cuda(), name="the stand-in", leases=leases)
    try:
        yield engine
    finally:
        engine.close()


def calls_of(engine: EngineOnGpu) -> int:
    """Return how often work was put on a stream by hand, which a recorded graph does without."""
    return int(engine._engine.calls)


def bytes_at(address: int, count: int) -> npt.NDArray[np.uint8]:
    """Return host memory as an array, which must not outlive it."""
    return np.ctypeslib.as_array((ctypes.c_ubyte * count).from_address(address))


def images_of(count: int, seed: int, side: int = 32) -> Array:
    """Return images (count, 3, side, side) of small whole numbers, whose sums are exact."""
    return np.random.default_rng(seed).integers(-8, 9, (count, 3, side, side)).astype(np.float32)


def expected(images: Array, classes: int = 5) -> Array:
    """Return what the kernel is to answer for images, exactly."""
    rows = images.reshape(len(images), -1)
    return np.stack([rows[:, label::classes].sum(1) for label in range(classes)], 1)
