"""The compiled kernels on a GPU, against float64: what the emulator cannot tell."""

import ctypes

import numpy as np
import pytest
import torch

from deepvit.runtime.kernels.cubins import TARGETS, cubin_for
from deepvit.runtime.kernels.table import KERNELS, Number
from tests.runtime.kernels.emulated import LOG2E, random_case, reference, relative_error

pytestmark = pytest.mark.gpu
BOUND = {Number.FP16: 5e-4, Number.BF16: 8 * 5e-4}  # as in test_accuracy.py
SCALED = 1.5
TORCH = {Number.FP16: torch.float16, Number.BF16: torch.bfloat16}
ARGUMENTS = (*[ctypes.c_void_p] * 5, ctypes.c_float, ctypes.c_int, ctypes.c_int)


def given(result):
    """The value of a call of the driver, if it has one."""
    error, *values = result
    assert error.value == 0, error
    return values[0] if values else None


@pytest.fixture(scope="module")
def target():
    """The kind of GPU, of those that there are kernels for, whose code the one here runs."""
    here = torch.cuda.get_device_capability()
    kinds = [tuple(map(int, each.split("."))) for each in TARGETS]
    fitting = [kind for kind in kinds if kind[0] == here[0] and kind <= here]
    if not fitting:
        pytest.skip(f"no kernels for compute capability {here}")
    return ".".join(map(str, max(fitting)))


@pytest.fixture(scope="module")
def module(target):
    from cuda.bindings import driver

    torch.zeros(1, device="cuda")  # makes the context
    return given(driver.cuModuleLoadData(cubin_for(target).content))


def launched(module, kernel, case):
    """The output (B, M, H·d), NaN where nothing is written."""
    from cuda.bindings import driver

    function = given(driver.cuModuleGetFunction(module, kernel.name.encode()))
    most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    given(driver.cuFuncSetAttribute(function, most, kernel.shared_bytes))
    batch, tokens, _, heads, width = case.qkv.shape
    qkv = torch.from_numpy(case.qkv).to("cuda", TORCH[kernel.number])
    wide = [torch.from_numpy(each).to("cuda", torch.float32) for each in (case.theta, case.bias, case.channels)]
    out = torch.full((batch, case.queries, heads * width), np.nan, dtype=qkv.dtype, device="cuda")
    values = (*(each.data_ptr() for each in (qkv, out, *wide)), case.scale * LOG2E, tokens, case.queries)
    stream, block = torch.cuda.current_stream().cuda_stream, (kernel.threads, 1, 1)
    sizes = (*kernel.grid(case.queries, batch), *block, kernel.shared_bytes)
    given(driver.cuLaunchKernel(function, *sizes, stream, (values, ARGUMENTS), 0))
    torch.cuda.synchronize()
    return out.double().cpu().numpy()


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name.removeprefix("reattention_"))
@pytest.mark.parametrize(("padding", "queries"), [(0, None), (3, None), (3, 1)])
def test_against_float64(module, target, kernel, padding, queries):
    if kernel.shared_bytes > TARGETS[target]:
        pytest.skip(f"a block of it does not fit on {target}")
    case = random_case(kernel, 0, batch=3, rows=kernel.tokens + padding, queries=queries, is_scaled=padding > 0)
    case.qkv[:, kernel.tokens :, 1:] = np.nan
    assert relative_error(launched(module, kernel, case), reference(case)) <= BOUND[kernel.number] * (
        SCALED if padding else 1
    )
