"""The kernel in the Triton language: interpreted on this CPU, and compiled for GPUs that are not here."""

import json
import os
import subprocess
import sys

import pytest

from tests.places import ROOT

triton = pytest.importorskip("triton")

# Tokens, heads, head width, type, bound of the relative error: float32's rounding, and the one of
# tests/runtime/kernels/test_accuracy.py. Triton's interpreter has no products of BF16.
CASES = (
    (50, 12, 33, "float32", 1e-6),
    (50, 12, 32, "float16", 5e-4),
    (26, 4, 25, "float16", 5e-4),
    (33, 16, 40, "float16", 5e-4),
)
INTERPRETED = """
import json, sys
import torch
from deepvit.model.fused.operator import formula
from deepvit.model.fused.triton_kernel import reattention_by_triton

def error(tokens, heads, width, dtype, transposed=False):
    torch.manual_seed(0)
    qkv = torch.randn(2, tokens, 3, heads, width)
    qkv[:, :, :2] *= 1.7
    qkv = qkv.to(getattr(torch, dtype))
    theta, bias = 30 * torch.randn(heads, heads), 0.05 * torch.randn(heads)
    found = reattention_by_triton(qkv, theta.T if transposed else theta, bias, width**-0.5).double()
    expected = formula(qkv.double(), theta.double(), bias.double(), width**-0.5)
    return float((found - expected).norm() / expected.norm())

cases = json.loads(sys.argv[1])
print(json.dumps([*(error(*case) for case in cases), error(*cases[0], transposed=True)]))
"""


def test_interpreted(tmp_path):
    environment = os.environ | {"TRITON_INTERPRET": "1", "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", INTERPRETED, json.dumps([case[:4] for case in CASES])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    *errors, transposed = json.loads(done.stdout)
    assert [error <= case[4] for error, case in zip(errors, CASES)] == [True] * len(CASES), errors
    assert transposed > 0.1


@pytest.mark.parametrize(("number", "width"), [("fp16", 32), ("bf16", 33)])
def test_compiled(tmp_path, monkeypatch, number, width):
    """Small enough for GPUs with 99 KB of shared memory a block, as 8.6, 8.9 and 12.0 have."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from triton.backends.compiler import GPUTarget

    from deepvit.model.fused import triton_kernel as of

    constants = {"heads": 12, "width": width}
    pointers = {"qkv": f"*{number}", "out": f"*{number}", "theta": "*fp32", "bias": "*fp32"}
    signature = pointers | {"scale_log2": "fp32", "tokens": "i32"} | dict.fromkeys(constants, "constexpr")
    source = triton.compiler.ASTSource(fn=of.reattention_kernel, signature=signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": of.WARPS})
    assert compiled.metadata.shared <= 101376
    assert compiled.asm["cubin"].startswith(b"\x7fELF")


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "bound"), [("float16", 5e-4), ("bfloat16", 8 * 5e-4)])
@pytest.mark.parametrize(("tokens", "width"), [(197, 32), (577, 35)])
def test_on_a_gpu(dtype, bound, tokens, width):
    import torch

    from deepvit.model.fused.operator import formula, reattention

    torch.manual_seed(0)
    qkv = torch.randn(2, tokens, 3, 12, width, device="cuda").to(getattr(torch, dtype))
    theta, bias = 30 * torch.randn(12, 12, device="cuda"), 0.05 * torch.randn(12, device="cuda")
    found = reattention(qkv, theta, bias, width**-0.5).double()
    expected = formula(qkv.double(), theta.double(), bias.double(), width**-0.5)
    assert (found - expected).norm() / expected.norm() <= bound
