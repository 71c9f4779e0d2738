"""DeepViT with its operations in the order of the original code: what a user exports who does nothing more.

The attention scale multiplies the maps, BatchNorm and `reatten_scale` follow the mix, and every block scales its input
and its output. The logits are those of the reference, as the tests hold.
"""

import torch

from ..attention import Attention, ReAttention
from ..network import Block, DeepViT


class OriginalAttention(torch.nn.Module):
    """One attention module, computed as the original's forward does."""

    def __init__(self, attn: Attention) -> None:
        super().__init__()
        self.attn = attn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attn = self.attn
        batch, tokens, dim = x.shape
        qkv = attn.qkv(x).reshape(batch, tokens, 3, attn.num_heads, attn.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        maps = ((q @ k.transpose(-2, -1)) * attn.scale).softmax(dim=-1)
        if isinstance(attn, ReAttention):
            maps = attn.var_norm(attn.reatten_matrix(maps)) * attn.reatten_scale
        return attn.proj((maps @ v).transpose(1, 2).reshape(batch, tokens, dim))


class OriginalBlock(torch.nn.Module):
    """One block, with the scale adjustment applied even where it is 1."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block, self.attn = block, OriginalAttention(block.attn)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        block, a = self.block, self.block.scale_adjustment
        x = x + self.attn(block.norm1(x * a)) / a
        return x + block.mlp(block.norm2(x * a)) / a


def original_style(model: DeepViT) -> torch.nn.Module:
    """Rewrite `model` in place."""
    for index, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        model.blocks[index] = OriginalBlock(block)
    return model
