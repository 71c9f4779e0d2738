"""One real kernel, compiled by NVRTC where it runs."""

import ctypes
from typing import Any

from cuda.bindings import driver, nvrtc

NAME = b"residue_sums"
THREADS = 256
# Row by row: the sum of every class's residue, through the scratch memory, as engines have intermediate results there;
# then as long as an engine would take. Sums of whole numbers below 2^24 are exact in float32, in whatever order.
SOURCE = rb"""
extern "C" __global__ void residue_sums(const float* images, float* logits, float* scratch, int values, int classes,
                                        unsigned long long nanoseconds) {
  unsigned long long begin, now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
  const float* image = images + (long long)blockIdx.x * values;
  float* sums = scratch + (long long)blockIdx.x * classes;
  for (int label = threadIdx.x; label < classes; label += blockDim.x) {
    float sum = 0;
    for (int place = label; place < values; place += classes) sum += image[place];
    sums[label] = sum;
  }
  __syncthreads();
  for (int label = threadIdx.x; label < classes; label += blockDim.x)
    logits[(long long)blockIdx.x * classes + label] = sums[label];
  do asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  while (now - begin < nanoseconds);
}
"""


def compiled(compute_capability: str) -> bytes:
    """Return the kernel as machine code for GPUs of this compute capability, as in 9.0."""
    program = given(nvrtc.nvrtcCreateProgram(SOURCE, NAME, 0, [], []))
    target = b"--gpu-architecture=sm_" + compute_capability.replace(".", "").encode()
    (error,) = nvrtc.nvrtcCompileProgram(program, 1, [target])
    if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        log = b" " * given(nvrtc.nvrtcGetProgramLogSize(program))
        nvrtc.nvrtcGetProgramLog(program, log)
        raise RuntimeError(f"NVRTC {error.name} with {target.decode()}: {log.decode(errors='replace')}")
    code = b" " * given(nvrtc.nvrtcGetCUBINSize(program))
    given(nvrtc.nvrtcGetCUBIN(program, code))
    return code


class Kernel:
    """The kernel on the device that is the calling thread's; it may be launched from any thread that uses it."""

    def __init__(self, compute_capability: str) -> None:
        self._module = given(driver.cuModuleLoadData(compiled(compute_capability)))
        self._function = given(driver.cuModuleGetFunction(self._module, NAME))

    def launch(
        self, stream: int, batch: int, images: int, logits: int, scratch: int, sizes: tuple[int, int], nanoseconds: int
    ) -> None:
        """Put it on a stream: a block of threads an image; `sizes` are values an image, and classes."""
        values = [
            *(ctypes.c_void_p(address) for address in (images, logits, scratch)),
            *(ctypes.c_int(size) for size in sizes),
            ctypes.c_ulonglong(nanoseconds),
        ]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        arguments = ctypes.addressof(pointers)
        given(driver.cuLaunchKernel(self._function, batch, 1, 1, THREADS, 1, 1, 0, stream, arguments, 0))


def given(result: tuple[Any, ...]) -> Any:
    """Return the one value of a call, if it has any, or raise what it says."""
    error, *values = result
    if error.value != 0:
        raise RuntimeError(f"CUDA said {error.name}")
    return values[0] if values else None
