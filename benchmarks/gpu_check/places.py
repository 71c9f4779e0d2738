"""Where a check runs: on the GPU at hand, or on fakes, which only show that the check itself works."""

import pathlib
import threading
from typing import TYPE_CHECKING, Any, Protocol

from deepvit.runtime.artifact.manifest import Backend, BatchRange, Precision
from deepvit.runtime.trt.machine import Machine, this_machine

if TYPE_CHECKING:
    from .reattention.cases import ReAttention

Addresses = tuple[int, int, int]  # of images, logits and scratch memory on the device
Sizes = tuple[int, int]  # values an image, and classes


class Place(Protocol):
    """What sections ask of it.

    Attributes:
        is_fake: Whether there is no GPU behind it.
        device: PyTorch's name of it.
        provider: ONNX Runtime's.
        variants: The models that numerics are shown on.
        side: Of the images of a full-sized engine.
        copy_bytes: How much is copied to time a copy.
        runs: How often something is run to time it.
        engine_variants: The models that engines are built of, in this order.
        engine_precisions: Likewise their precisions, the most wanted first.
    """

    is_fake: bool
    device: str
    provider: str
    variants: tuple[str, ...]
    side: int
    copy_bytes: int
    runs: int
    engine_variants: tuple[str, ...]
    engine_precisions: tuple[Precision, ...]

    def machine(self) -> Machine: ...
    def cuda(self) -> Any: ...
    def free_bytes(self) -> int:
        """Return the free memory of the device."""

    def is_pinned(self, address: int) -> bool:
        """Return whether host memory is page-locked."""

    def is_capturing(self, stream: int) -> bool: ...
    def spoil_capture(self, stream: int) -> None:
        """Do what a capture does not allow, as TensorRT does that allocates memory late."""

    def last_error(self) -> str:
        """Return the error that CUDA keeps for whoever asks next."""

    def launch(self, stream: int, batch: int, addresses: Addresses, sizes: Sizes, nanoseconds: int) -> None:
        """Put the stand-in's kernel on a stream."""

    def build(self, folder: pathlib.Path, backend: Backend, batch: BatchRange | None = None) -> None:
        """Build an engine for an artifact, of its own batch sizes or others; `deepvit.export.engine.add` proves it."""

    def open_engine(self, folder: pathlib.Path, backend: Backend) -> Any:
        """Return a session of it that has `inspect` too."""

    def reattention(self) -> "ReAttention":
        """Return the compiled kernels of fused re-attention."""


class Gpu:
    """The GPU at hand; what needs a library loads it when it is asked."""

    is_fake, device, provider = False, "cuda", "cuda"
    variants: tuple[str, ...] = ("deepvit_32", "vit_32")
    engine_variants: tuple[str, ...] = ("digits_cnn", "deepvit_32")
    engine_precisions: tuple[Precision, ...] = (
        Precision.FP16, Precision.INT8, Precision.FP8, Precision.BF16, Precision.FP32,
    )  # fmt: skip
    side, copy_bytes, runs = 224, 256 << 20, 30

    def __init__(self) -> None:
        self._kernel: Any = None
        self._making = threading.Lock()

    def machine(self) -> Machine:
        return this_machine()

    def cuda(self) -> Any:
        from deepvit.runtime.trt.cuda import Cuda

        return Cuda()

    def free_bytes(self) -> int:
        return int(_asked("cudaMemGetInfo"))

    def is_pinned(self, address: int) -> bool:
        from cuda.bindings import runtime

        kind = _asked("cudaPointerGetAttributes", address).type
        return bool(kind == runtime.cudaMemoryType.cudaMemoryTypeHost)

    def is_capturing(self, stream: int) -> bool:
        return bool(int(_asked("cudaStreamIsCapturing", stream)))

    def spoil_capture(self, stream: int) -> None:  # noqa: ARG002 - the calling thread's capture
        from cuda.bindings import runtime

        error, address = runtime.cudaMalloc(1 << 20)
        if error == runtime.cudaError_t.cudaSuccess:  # the capture is whole, which will show
            runtime.cudaFree(address)

    def last_error(self) -> str:
        from cuda.bindings import runtime

        return str(runtime.cudaPeekAtLastError()[0].name)

    def launch(self, stream: int, batch: int, addresses: Addresses, sizes: Sizes, nanoseconds: int) -> None:
        with self._making:  # compiled by the first run, which is not recorded
            if self._kernel is None:
                from .kernel import Kernel

                self._kernel = Kernel(self.cuda().compute_capability)
        self._kernel.launch(stream, batch, *addresses, sizes, nanoseconds)

    def build(self, folder: pathlib.Path, backend: Backend, batch: BatchRange | None = None) -> None:
        from deepvit.export.engine.add import add_engine
        from deepvit.export.engine.options import EngineOptions

        add_engine(folder, EngineOptions(backend=backend, batch=batch), lambda phase, share: None)  # noqa: ARG005

    def open_engine(self, folder: pathlib.Path, backend: Backend) -> Any:
        from deepvit.runtime.opening import open_session

        return open_session(folder / backend.plan)

    def reattention(self) -> "ReAttention":
        from .reattention.cases import OnGpu

        return OnGpu()


def _asked(call: str, *arguments: object) -> Any:
    """Return the first value of a call of CUDA's runtime."""
    from cuda.bindings import runtime

    error, value, *_ = getattr(runtime, call)(*arguments)
    if error != runtime.cudaError_t.cudaSuccess:
        raise RuntimeError(f"{call}: {error.name}")
    return value
