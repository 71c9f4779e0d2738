"""Run every kernel once, for compute-sanitizer to watch: `python -m benchmarks.gpu_check.reattention.sanitized CUBIN`.

No PyTorch, whose kernels it would watch too. Keys and values of padding are left unwritten, so that initcheck tells where
they are read. Exits 1 where an output is not finite.
"""

import pathlib
import sys

import numpy as np
from cuda.bindings import driver

from deepvit.runtime.kernels.table import Kernel, Number

from ..kernel import given
from .cubins import Cubins
from .names import shape_of

BATCH = 2
BYTES = 2


def _context() -> str:
    """Make the first GPU's context the calling thread's, and return its compute capability."""
    given(driver.cuInit(0))
    device = given(driver.cuDeviceGet(0))
    given(driver.cuCtxSetCurrent(given(driver.cuDevicePrimaryCtxRetain(device))))
    kinds = driver.CUdevice_attribute
    wanted = (kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
    return ".".join(str(given(driver.cuDeviceGetAttribute(each, device))) for each in wanted)


def bits_of(values: np.ndarray, number: Number) -> np.ndarray:
    """Return float32 values in 16 bits; of BF16 the upper half, which is rounded towards 0."""
    values = values.astype(np.float32)
    return (
        values.astype(np.float16).view(np.uint16)
        if number is Number.FP16
        else (values.view(np.uint32) >> 16).astype(np.uint16)
    )


def is_finite(bits: np.ndarray, number: Number) -> bool:
    exponents = 0x7C00 if number is Number.FP16 else 0x7F80
    return bool(((bits & exponents) != exponents).all())


def runs(cubins: Cubins, kernel: Kernel) -> bool:
    """Run a kernel on memory of exactly its size, and return whether its output is finite."""
    shape, random = shape_of(kernel), np.random.default_rng(0)
    of_token = kernel.heads * kernel.width
    qkv = bits_of(random.standard_normal((BATCH, shape.stored, 3 * of_token)), kernel.number)
    inputs = ((kernel.heads, kernel.heads), kernel.heads, (3, kernel.heads, kernel.width))  # Θ', b', channels
    wide = [random.standard_normal(sizes).astype(np.float32) for sizes in inputs]
    out = np.full((BATCH, shape.stored, of_token), 0xFFFF, np.uint16)  # NaN, where nothing is written
    addresses = tuple(int(given(driver.cuMemAlloc(each.nbytes))) for each in (qkv, out, *wide))
    for image, rows in enumerate(qkv):
        for token in range(shape.stored):
            count = 3 * of_token if token < shape.tokens else of_token  # of padding only q
            place = addresses[0] + BYTES * 3 * of_token * (image * shape.stored + token)
            given(driver.cuMemcpyHtoD(place, rows[token].ctypes.data, BYTES * count))
    for address, array in zip(addresses[1:], [out, *wide], strict=True):
        given(driver.cuMemcpyHtoD(address, array.ctypes.data, array.nbytes))
    cubins.launch(kernel, addresses, kernel.width**-0.5, (BATCH, shape.stored, shape.stored), 0)
    given(driver.cuCtxSynchronize())
    given(driver.cuMemcpyDtoH(out.ctypes.data, addresses[1], out.nbytes))
    for address in addresses:
        given(driver.cuMemFree(address))
    return is_finite(out, kernel.number)


def main(cubin: pathlib.Path) -> int:
    cubins = Cubins(_context(), cubin.read_bytes())
    wrong = [kernel.name for kernel in cubins.kernels if not runs(cubins, kernel)]
    print(f"{len(cubins.kernels)} kernels run" + (f", not finite: {', '.join(wrong)}" if wrong else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
