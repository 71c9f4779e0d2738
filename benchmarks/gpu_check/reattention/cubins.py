"""The kernels of `make kernels`, launched by CUDA's driver on whatever GPU the calling thread has; PyTorch is not needed."""

import ctypes
import hashlib
import json
import math
from typing import Any

from cuda.bindings import driver

from deepvit.runtime.kernels.cubins import MANIFEST, TARGETS, cubin_for, sources_sha256, target_for
from deepvit.runtime.kernels.table import KERNELS, Kernel

from ..findings import SkippedError
from ..kernel import given
from ..record import ROOT

BUILT = ROOT / "build" / "kernels"
LOG2E = math.log2(math.e)
POINTERS = 5  # qkv, out, theta, bias, channels
PARAMETERS = (*[ctypes.c_void_p] * POINTERS, ctypes.c_float, ctypes.c_int, ctypes.c_int)


class Cubins:
    """Machine code for a GPU, loaded into the calling thread's context; `kernels` are those that it can run.

    Args:
        compute_capability: The GPU's, as in 9.0.
        compiled: Its machine code, where that is at hand.

    Raises:
        SkippedError: There is no machine code for it.
    """

    def __init__(self, compute_capability: str, compiled: bytes | None = None) -> None:
        target = target_for(compute_capability)
        if target is None:
            raise SkippedError(f"no kernels for compute capability {compute_capability}, only for {', '.join(TARGETS)}")
        self.content, self.source = machine_code(target) if compiled is None else (compiled, "given")
        self.kernels = [kernel for kernel in KERNELS if kernel.shared_bytes <= TARGETS[target]]
        self._module = given(driver.cuModuleLoadData(self.content))
        self._functions: dict[str, Any] = {}

    def launch(
        self, kernel: Kernel, addresses: tuple[int, ...], scale: float, sizes: tuple[int, int, int], stream: int
    ) -> None:
        """Put a kernel on a stream.

        Args:
            kernel: One of `kernels`.
            addresses: On the GPU: qkv (B, N, 3, H, d) and out (B, M, H·d) in 16 bits, theta (H, H), bias (H) and
                channels (3, H, d) float32.
            scale: Of the scores.
            sizes: B, N and M, how many of the tokens are queries.
            stream: CUDA's number of it.
        """
        function = self._functions.get(kernel.name)
        if function is None:
            function = self._functions[kernel.name] = self._found(kernel)
        batch, stored, queries = sizes
        values = (*addresses, scale * LOG2E, stored, queries)
        blocks = (*kernel.grid(queries, batch), kernel.threads, 1, 1, kernel.shared_bytes)
        given(driver.cuLaunchKernel(function, *blocks, stream, (values, PARAMETERS), 0))

    def _found(self, kernel: Kernel) -> Any:
        function = given(driver.cuModuleGetFunction(self._module, kernel.name.encode()))
        most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        given(driver.cuFuncSetAttribute(function, most, kernel.shared_bytes))
        return function


def machine_code(target: str) -> tuple[bytes, str]:
    """Return the cubin for a kind of GPU, and where it is from: `make kernels`, where that was of these sources, or NVRTC.

    What `make kernels` made is preferred, since that is what a plugin carries.
    """
    manifest = BUILT / MANIFEST
    record = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
    if record.get("sources_sha256") == sources_sha256():
        for own in record["cubins"]:
            content = (BUILT / own["file"]).read_bytes() if own["compute_capability"] == target else b""
            if hashlib.sha256(content).hexdigest() == own["sha256"]:
                return content, f"make kernels, NVRTC {record['nvrtc']}, SHA-256 {own['sha256'][:12]}"
    from deepvit.runtime.kernels.nvrtc import nvrtc_version

    content = cubin_for(target).content
    return content, f"compiled here, NVRTC {nvrtc_version()}, SHA-256 {hashlib.sha256(content).hexdigest()[:12]}"
