"""A machine without a GPU in the place of one with it: the tests' own GPU in memory, and the CPU for what computes."""

import ctypes
import pathlib
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from deepvit.runtime.artifact.manifest import Backend, BatchRange, Precision
from deepvit.runtime.kernels.table import KERNELS, Kernel
from deepvit.runtime.opening import open_session
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.trt.machine import Machine
from tests.doubles import fake_gpu

from .places import Addresses, Sizes

LAYERS = '{"Layers": []}'


class FakeGpu:
    """See `Place`."""

    is_fake, device, provider = True, "cpu", "cpu"
    variants: tuple[str, ...] = ("digits_cnn",)
    engine_variants: tuple[str, ...] = ("digits_cnn",)
    engine_precisions: tuple[Precision, ...] = (Precision.FP16,)
    side, copy_bytes, runs = 32, 1 << 16, 2

    def machine(self) -> Machine:
        return fake_gpu.HERE

    def cuda(self) -> Any:
        return fake_gpu.FakeCuda()

    @property
    def _device(self) -> Any:
        return fake_gpu.FakeCuda.current  # type: ignore[attr-defined]  # the newest sets it

    def free_bytes(self) -> int:
        return int(self._device.memory - sum(len(each) for each in self._device.live.values()))

    def is_pinned(self, address: int) -> bool:
        return address in self._device.pinned

    def is_capturing(self, stream: int) -> bool:
        return stream in self._device.capturing

    def spoil_capture(self, stream: int) -> None:  # noqa: ARG002 - whichever is next
        self._device.fails_capture = True

    def last_error(self) -> str:
        return "cudaSuccess"

    def launch(self, stream: int, batch: int, addresses: Addresses, sizes: Sizes, nanoseconds: int) -> None:  # noqa: ARG002
        self._device.put(fake_gpu.Stream(stream), lambda: self.compute(batch, addresses, sizes))

    def compute(self, batch: int, addresses: Addresses, sizes: Sizes) -> None:
        """Do what the kernel does."""
        images, logits, _ = addresses
        values, classes = sizes
        rows = np.ctypeslib.as_array((ctypes.c_float * (batch * values)).from_address(images)).reshape(batch, values)
        sums = np.stack([rows[:, label::classes].sum(1) for label in range(classes)], 1)
        ctypes.memmove(logits, np.ascontiguousarray(sums).ctypes.data, sums.nbytes)

    def build(self, folder: pathlib.Path, backend: Backend, batch: BatchRange | None = None) -> None:
        """Nothing is built: the session is ONNX Runtime's."""

    def open_engine(self, folder: pathlib.Path, backend: Backend) -> Any:  # noqa: ARG002
        session: Any = open_session(folder, "cpu", arithmetic=Arithmetic.AS_DECLARED)
        session.inspect = lambda: LAYERS
        return session

    def reattention(self) -> Any:
        return FakeReAttention()


class FakeReAttention:
    """Small kernels' results, computed in float64 and rounded once."""

    content, source = b"", "none: a formula"

    def __init__(self) -> None:
        self.kernels = [kernel for kernel in KERNELS if kernel.tokens < 100]

    @classmethod
    def of(cls, kernels: Iterable[Kernel]) -> Self:
        made = cls()
        made.kernels = list(kernels)
        return made

    def attend(self, kernel: Kernel, case: Any, out: Any = None) -> Any:  # noqa: ARG002
        import torch

        from .reattention.cases import attended

        found = attended(case, torch.float64).to(case.qkv.dtype)
        return found if out is None else out.copy_(found)
