"""The compiled kernels on a GPU, against float64: what the emulator cannot tell."""

import numpy as np
import pytest
import torch

from benchmarks.gpu_check.findings import SkippedError
from benchmarks.gpu_check.reattention.cases import TORCH, Case, OnGpu
from deepvit.runtime.kernels.table import KERNELS, Number
from tests.runtime.kernels.emulated import random_case, reference, relative_error

pytestmark = pytest.mark.gpu
BOUND = {Number.FP16: 5e-4, Number.BF16: 8 * 5e-4}  # as in test_accuracy.py
SCALED = 1.5


@pytest.fixture(scope="module")
def attention():
    try:
        return OnGpu()
    except SkippedError as error:
        pytest.skip(str(error))


def attended(attention, kernel, case):
    """The output (B, M, H·d), NaN where nothing is written."""
    names = ("theta", "bias", "channels")
    wide = {name: torch.from_numpy(getattr(case, name)).to("cuda", torch.float32) for name in names}
    qkv = torch.from_numpy(case.qkv).to("cuda", TORCH[kernel.number])
    there = Case(qkv=qkv, scale=case.scale, tokens=case.tokens, queries=case.queries, **wide)
    out = torch.full((len(qkv), case.queries, kernel.heads * kernel.width), np.nan, dtype=qkv.dtype, device="cuda")
    return attention.attend(kernel, there, out).double().cpu().numpy()


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name.removeprefix("reattention_"))
@pytest.mark.parametrize(("padding", "queries"), [(0, None), (3, None), (3, 1)])
def test_against_float64(attention, kernel, padding, queries):
    if kernel not in attention.kernels:
        pytest.skip("a block of it does not fit on this GPU")
    case = random_case(kernel, 0, batch=3, rows=kernel.tokens + padding, queries=queries, is_scaled=padding > 0)
    case.qkv[:, kernel.tokens :, 1:] = np.nan
    most = BOUND[kernel.number] * (SCALED if padding else 1)
    assert relative_error(attended(attention, kernel, case), reference(case)) <= most
