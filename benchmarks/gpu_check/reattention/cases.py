"""What kernels are given, what they should give, and how they are called with PyTorch's tensors."""

import dataclasses
import math
from typing import Protocol

import torch

from deepvit.runtime.kernels.table import Kernel, Number

from .names import Shape

TORCH = {Number.FP16: torch.float16, Number.BF16: torch.bfloat16}
GAIN = 1.7  # of q and k: scores of several units, as in tests/runtime/kernels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One call: qkv (B, N, 3, H, d) in 16 bits, theta (H, H) and bias (H,) float32; the first `tokens` of N are keys.

    Attributes:
        channels: What q is multiplied by, what is added to it, what the output is multiplied by, (3, H, d) float32;
            None stands for 1, 0 and 1.
        queries: How many tokens are queries, the first; None for all.
    """

    qkv: torch.Tensor
    theta: torch.Tensor
    bias: torch.Tensor
    scale: float
    tokens: int
    channels: torch.Tensor | None = None
    queries: int | None = None


class ReAttention(Protocol):
    """The compiled kernels: their machine code, and where it is from."""

    kernels: list[Kernel]
    content: bytes
    source: str

    def attend(self, kernel: Kernel, case: Case, out: torch.Tensor | None = None) -> torch.Tensor:
        """Return (B, M, H·d), put on the current stream; in `out` where it is given."""


class OnGpu:
    """See `ReAttention`: on PyTorch's current GPU."""

    def __init__(self) -> None:
        from .cubins import Cubins

        torch.zeros(1, device="cuda")  # makes the context that the kernels are loaded into
        major, minor = torch.cuda.get_device_capability()
        self._cubins = Cubins(f"{major}.{minor}")
        self.kernels, self.content, self.source = self._cubins.kernels, self._cubins.content, self._cubins.source
        self._plain: dict[tuple[int, int], torch.Tensor] = {}  # channels, by heads and width

    def attend(self, kernel: Kernel, case: Case, out: torch.Tensor | None = None) -> torch.Tensor:
        batch, stored, _, heads, width = case.qkv.shape
        assert case.tokens == kernel.tokens
        assert (case.qkv.is_contiguous(), case.qkv.dtype) == (True, TORCH[kernel.number])
        sizes = (batch, stored, case.queries or stored)
        if out is None:
            out = case.qkv.new_empty(batch, sizes[2], heads * width)
        channels = self._plain_channels(heads, width) if case.channels is None else case.channels
        addresses = tuple(each.data_ptr() for each in (case.qkv, out, case.theta, case.bias, channels))
        stream = torch.cuda.current_stream().cuda_stream
        self._cubins.launch(kernel, addresses, case.scale, sizes, stream)
        return out

    def _plain_channels(self, heads: int, width: int) -> torch.Tensor:
        if (heads, width) not in self._plain:
            values = torch.tensor([1.0, 0.0, 1.0], device="cuda")
            self._plain[heads, width] = values[:, None, None].expand(3, heads, width).contiguous()
        return self._plain[heads, width]


def random_case(shape: Shape, device: str, *, batch: int, seed: int = 0) -> Case:
    """Return Θ' and b' as large as folding makes them, and q, k and v of several units."""
    source = torch.Generator(device).manual_seed(seed)

    def normal(*sizes: int) -> torch.Tensor:
        return torch.randn(sizes, generator=source, device=device)

    qkv = normal(batch, shape.stored, 3, shape.heads, shape.width)
    qkv[:, :, :2] *= GAIN
    return Case(
        qkv=qkv.to(TORCH[shape.number]),
        theta=30 * normal(shape.heads, shape.heads),
        bias=0.05 * normal(shape.heads),
        scale=shape.width**-0.5,
        tokens=shape.tokens,
    )


def attended(case: Case, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return (B, M, H·d) by separate operators in `dtype`, that of the case where it is None."""
    qkv = case.qkv if dtype is None else case.qkv.to(dtype)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    q = q[:, :, : case.queries]
    if case.channels is not None:
        factor, added, out_factor = case.channels.to(q.dtype)[:, :, None]
        q, v = q * factor + added, v * out_factor
    k, v = k[:, :, : case.tokens], v[:, :, : case.tokens]
    maps = torch.softmax((q * case.scale) @ k.transpose(-2, -1), dim=-1)
    mixed = (case.theta.to(maps.dtype) @ maps.flatten(2)).view(maps.shape) + case.bias.to(maps.dtype)[:, None, None]
    return (mixed @ v).transpose(1, 2).flatten(2)


def without_mix(case: Case) -> torch.Tensor:
    """Return (B, N, H·d) of attention that mixes nothing, as one kernel."""
    q, k, v = case.qkv.permute(2, 0, 3, 1, 4).unbind(0)
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=case.scale).transpose(1, 2).flatten(2)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return ‖found − expected‖ / ‖expected‖; infinite where `found` is not finite."""
    error = float((found.double() - expected).norm() / expected.norm())
    return error if math.isfinite(error) else math.inf
