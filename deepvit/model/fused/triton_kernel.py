"""Fused re-attention in the Triton language; the only file that loads Triton.

Two passes over the keys: the largest score and the sum of every row of every head; then the scores again, as softmax,
mixed by one product over the heads, times v. Nothing of size N × N is written. Simpler than `runtime/kernels/cuda`, and
another way to the same numbers: heads are filled up to 16, head widths to a power of two.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

import torch

from deepvit.runtime.errors import needed_for

from .limits import MOST_HEADS

with needed_for("fused re-attention"):
    import triton
    import triton.language as tl

ROWS = tl.constexpr(16)  # of queries in a program
WARPS = 8
LOG2E = 1.4426950408889634


@triton.jit
def _rows_of(base, rows, stride: tl.constexpr, tokens, heads: tl.constexpr, width: tl.constexpr, D: tl.constexpr):
    """(16, rows, D) of tokens that are `stride` numbers apart; 0 where there is no such head, row or column."""
    head, column = tl.arange(0, 16)[:, None, None], tl.arange(0, D)[None, None, :]
    is_there = (head < heads) & (column < width) & (rows < tokens)[None, :, None]
    return tl.load(base + rows[None, :, None] * stride + head * width + column, mask=is_there, other=0.0)


@triton.jit
def _scores(q, k, keys, tokens, scale_log2):
    """(16, R, K) float32: scale·log₂e·q·kᵀ, −∞ for keys that are not there."""
    s = tl.dot(q, tl.trans(k, 0, 2, 1), input_precision="ieee") * scale_log2
    return tl.where((keys < tokens)[None, None, :], s, float("-inf"))


@triton.jit
def reattention_kernel(
    qkv, out, theta, bias, scale_log2, tokens, heads: tl.constexpr, width: tl.constexpr
):  # fmt: skip
    """One program: ROWS query rows of an image, all heads. Grid (⌈N / ROWS⌉, B)."""
    R: tl.constexpr = ROWS
    D: tl.constexpr = triton.next_power_of_2(width) if width > 16 else 16
    K: tl.constexpr = 32 if D <= 32 else 16  # keys of a step: with more, shared memory would exceed 99 KB
    stride: tl.constexpr = 3 * heads * width
    number = qkv.dtype.element_ty
    image = tl.program_id(1).to(tl.int64) * tokens
    rows = tl.program_id(0) * R + tl.arange(0, R)
    q_of, k_of = qkv + image * stride, qkv + image * stride + heads * width
    v_of = k_of + heads * width
    q = _rows_of(q_of, rows, stride, tokens, heads, width, D)

    top = tl.full((16, R), float("-inf"), tl.float32)
    total = tl.zeros((16, R), tl.float32)
    for first in range(0, tokens, K):
        keys = first + tl.arange(0, K)
        s = _scores(q, _rows_of(k_of, keys, stride, tokens, heads, width, D), keys, tokens, scale_log2)
        most = tl.maximum(top, tl.max(s, 2))
        total = total * tl.exp2(top - most) + tl.sum(tl.exp2(s - most[:, :, None]), 2)
        top = most

    head = tl.arange(0, 16)
    both = (head < heads)[:, None] & (head < heads)[None, :]
    mix = tl.load(theta + head[:, None] * heads + head[None, :], mask=both, other=0.0).to(number)
    shift = tl.load(bias + head, mask=head < heads, other=0.0)
    summed = tl.zeros((16, R, D), tl.float32)
    for first in range(0, tokens, K):
        keys = first + tl.arange(0, K)
        s = _scores(q, _rows_of(k_of, keys, stride, tokens, heads, width, D), keys, tokens, scale_log2)
        maps = (tl.exp2(s - top[:, :, None]) / total[:, :, None]).to(number)
        mixed = tl.dot(mix, tl.reshape(maps, (16, R * K)), input_precision="ieee") + shift[:, None]
        v = _rows_of(v_of, keys, stride, tokens, heads, width, D)  # 0 where a key is not there, and b' alone is mixed
        summed = tl.dot(tl.reshape(mixed.to(number), (16, R, K)), v, summed, input_precision="ieee")

    column = tl.arange(0, D)[None, None, :]
    is_there = (head < heads)[:, None, None] & (column < width) & (rows < tokens)[None, :, None]
    place = (image + rows)[None, :, None] * heads * width + head[:, None, None] * width + column
    tl.store(out + place, summed.to(number), mask=is_there)


def reattention_by_triton(qkv: torch.Tensor, theta: torch.Tensor, bias: torch.Tensor, scale: float) -> torch.Tensor:
    """See `operator.reattention`; on a GPU, or on a CPU in Triton's interpreter (TRITON_INTERPRET=1).

    Not for FP32 on a GPU, of which a program would need more shared memory than there is, nor for more than MOST_HEADS.
    """
    batch, tokens, _, heads, width = qkv.shape
    assert heads <= MOST_HEADS
    qkv, theta, bias = qkv.contiguous(), theta.float().contiguous(), bias.float().contiguous()
    out = qkv.new_empty(batch, tokens, heads * width)
    grid = (triton.cdiv(tokens, ROWS.value), batch)
    reattention_kernel[grid](qkv, out, theta, bias, scale * LOG2E, tokens, heads, width, num_warps=WARPS)
    return out
