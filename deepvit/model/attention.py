"""Self-attention, and re-attention: the softmaxed maps mixed across heads.

Source: Zhou et al., "DeepViT: Towards Deeper Vision Transformer" (arXiv:2103.11886), section 4, in the form of the
original implementation, whose state-dict names are kept.
"""

from collections.abc import Callable

import torch
from torch import nn

from .architecture import MixNorm


class Attention(nn.Module):
    """Multi-head self-attention: softmax(q·kᵀ·scale)·v, then a linear projection.

    Args:
        dim: Width C of the tokens.
        num_heads: Number of heads H.
        attn_drop: Dropout rate on the softmaxed maps (training only).
        proj_drop: Dropout rate on the output (training only).
        head_dim: Width of a head; C / H where None.
    """

    def __init__(
        self, dim: int, num_heads: int, attn_drop: float = 0.0, proj_drop: float = 0.0, head_dim: int | None = None
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim or dim // num_heads
        self.scale = self.head_dim**-0.5
        width = num_heads * self.head_dim
        self.qkv = nn.Linear(dim, width * 3)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(width, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def split_heads(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return q, k and v, each (B, H, N, head_dim), of tokens `x` (B, N, C)."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def attention_maps(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """Return the softmaxed maps (B, H, N, N), every row summing to 1."""
        return self.attn_drop(torch.softmax((q * self.scale) @ k.transpose(-2, -1), dim=-1))

    def attend(self, maps: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Return maps·v, (B, H, N, head_dim); a subclass may change the maps first."""
        return maps @ v

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map tokens (B, N, C) to tokens (B, N, C)."""
        q, k, v = self.split_heads(x)
        out: torch.Tensor = self.attend(self.attention_maps(q, k), v).transpose(1, 2).flatten(2)
        return self.proj_drop(self.proj(out))


class HeadNorm(nn.LayerNorm):
    """LayerNorm over the heads of mixed maps (B, H, N, N), for each pair of tokens."""

    def forward(self, mixed: torch.Tensor) -> torch.Tensor:
        return super().forward(mixed.movedim(1, -1)).movedim(-1, 1)


class HeadRms(nn.Module):
    """What is left of `HeadNorm` behind a centred mix: γ·M/√(mean_h M² + ε) + β, of maps M (B, H, N, N).

    Args:
        gain: γ, (H,).
        bias: β, (H,).
        eps: ε.
    """

    def __init__(self, gain: torch.Tensor, bias: torch.Tensor, eps: float) -> None:
        super().__init__()
        self.gain, self.bias, self.eps = nn.Parameter(gain), nn.Parameter(bias), eps

    def forward(self, mixed: torch.Tensor) -> torch.Tensor:
        return over_rms(mixed, self.eps) * self.gain.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


def over_rms(mixed: torch.Tensor, eps: float | torch.Tensor) -> torch.Tensor:
    """Return M/√(mean_h M² + ε) of maps M (B, H, N, N)."""
    return mixed / torch.sqrt((mixed * mixed).mean(dim=1, keepdim=True) + eps)


class ReAttention(Attention):
    """Attention whose maps are mixed across heads: norm(Θ·A + b)·reatten_scale, then ·v.

    The mixed maps A' are signed and their rows do not sum to 1.

    Args:
        dim: Width C of the tokens.
        num_heads: Number of heads H; Θ is H×H.
        mix_norm: The norm after the mix; without one the state dict has no `var_norm.*`.
        transform_scale: Multiply A' by head_dim ** -0.5.
        attn_drop: Dropout rate on the softmaxed maps (training only).
        proj_drop: Dropout rate on the output (training only).
        head_dim: Width of a head; C / H where None.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mix_norm: MixNorm = MixNorm.BATCH,
        transform_scale: bool = False,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        head_dim: int | None = None,
    ) -> None:
        super().__init__(dim, num_heads, attn_drop, proj_drop, head_dim)
        self.reatten_matrix = nn.Conv2d(num_heads, num_heads, kernel_size=1)
        self.var_norm: nn.Module = NORMS[mix_norm](num_heads)
        self.reatten_scale = self.scale if transform_scale else 1.0

    def reattend(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the mixed maps A' (B, H, N, N) of softmaxed maps (B, H, N, N)."""
        return self.var_norm(self.reatten_matrix(maps)) * self.reatten_scale

    def attend(self, maps: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Return A'·v, (B, H, N, head_dim)."""
        return self.reattend(maps) @ v


# MixNorm → the module for so many heads.
NORMS: dict[MixNorm, Callable[[int], nn.Module]] = {
    MixNorm.BATCH: nn.BatchNorm2d,
    MixNorm.NONE: nn.Identity,
    MixNorm.LAYER: HeadNorm,
}
