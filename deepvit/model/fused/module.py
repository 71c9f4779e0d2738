"""A DeepViT whose re-attention is the operator `deepvit::reattention`: the same function, for inference."""

import torch
from torch import nn

from ..attention import ReAttention
from ..network import Block, DeepViT
from ..rewrites.fold import float64_copy
from ..rewrites.norms import fold_mix_norm
from .operator import reattention


class FusedReAttention(nn.Module):
    """Re-attention of folded Θ' and b', tokens (B, N, C) → (B, N, C).

    Args:
        folded: What to compute, its mix folded; the weights are shared.
    """

    def __init__(self, folded: ReAttention) -> None:
        super().__init__()
        self.num_heads, self.scale = folded.num_heads, folded.scale
        self.qkv, self.proj = folded.qkv, folded.proj
        assert folded.reatten_matrix.bias is not None
        self.theta = nn.Parameter(folded.reatten_matrix.weight.detach().flatten(1))  # (H, H)
        self.bias = nn.Parameter(folded.reatten_matrix.bias.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        return self.proj(reattention(qkv, self.theta, self.bias, self.scale))


def fuse_reattention(model: DeepViT) -> DeepViT:
    """Return a float64 copy of `model`, in evaluation mode, with its mixes folded and its re-attention fused."""
    fused = float64_copy(model).eval()
    fold_mix_norm(fused)
    for block in fused.blocks:
        assert isinstance(block, Block)
        if isinstance(block.attn, ReAttention):
            block.attn = FusedReAttention(block.attn)  # type: ignore[assignment]
    return fused
