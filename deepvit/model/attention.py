"""Self-attention, and re-attention: the softmaxed maps mixed across heads.

Source: Zhou et al., "DeepViT: Towards Deeper Vision Transformer" (arXiv:2103.11886), section 4, in the form of the
original implementation, whose state-dict names are kept.
"""

import enum

import torch
from torch import nn


class MixNorm(enum.Enum):
    """The norm that follows the mix of the heads."""

    BATCH = "batch"  # BatchNorm over heads; "FC + BN" in the paper's tables
    NONE = "none"  # "FC"


class Attention(nn.Module):
    """Multi-head self-attention: softmax(q·kᵀ·scale)·v, then a linear projection.

    Args:
        dim: Width C of the tokens.
        num_heads: Number of heads H; the head width is C / H.
        attn_drop: Dropout rate on the softmaxed maps (training only).
        proj_drop: Dropout rate on the output (training only).
    """

    def __init__(self, dim: int, num_heads: int, attn_drop: float = 0.0, proj_drop: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.scale = self.head_dim**-0.5
        self.qkv = nn.Linear(dim, dim * 3)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(dim, dim)
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
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mix_norm: MixNorm = MixNorm.BATCH,
        transform_scale: bool = False,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__(dim, num_heads, attn_drop, proj_drop)
        self.reatten_matrix = nn.Conv2d(num_heads, num_heads, kernel_size=1)
        self.var_norm = nn.BatchNorm2d(num_heads) if mix_norm is MixNorm.BATCH else nn.Identity()
        self.reatten_scale = self.scale if transform_scale else 1.0

    def reattend(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the mixed maps A' (B, H, N, N) of softmaxed maps (B, H, N, N)."""
        return self.var_norm(self.reatten_matrix(maps)) * self.reatten_scale

    def attend(self, maps: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Return A'·v, (B, H, N, head_dim)."""
        return self.reattend(maps) @ v
