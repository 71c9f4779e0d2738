"""A folded DeepViT as the module that is traced: the same function, written in the form that the target runs fastest.

The last block's queries, projection and MLP are computed for the class token alone, since nothing else of that block
reaches the head; the final norm likewise.
"""

import copy

import torch
from torch import nn

from deepvit.model.architecture import Pooling
from deepvit.model.attention import ReAttention
from deepvit.model.network import Block, DeepViT, pooled
from deepvit.runtime.artifact.manifest import InputForm, MixForm, QkvForm
from deepvit.runtime.preprocess import Preprocessing

from ..padding import TokenPadding, Tokens, tokens_of
from ..spec import GraphSpec, Outputs
from .attention import GraphAttention
from .pixels import pixel_input


class GraphBlock(nn.Module):
    """A folded block; with `rows`, only the first so many tokens leave it."""

    def __init__(self, folded: Block, mix: MixForm, qkv: QkvForm, tokens: Tokens, rows: int | None) -> None:
        super().__init__()
        if folded.scale_adjustment != 1.0:
            raise ValueError("GraphBlock needs fold_scale_adjustment first")
        self.rows = rows
        self.norm1, self.norm2, self.mlp = (copy.deepcopy(m) for m in (folded.norm1, folded.norm2, folded.mlp))
        self.attn = GraphAttention(folded.attn, mix, qkv, tokens)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attended = self.attn(self.norm1(x), self.rows)
        x = (x if self.rows is None else x[:, : self.rows]) + attended
        return x + self.mlp(self.norm2(x))


class GraphModule(nn.Module):
    """The whole network: images → logits (B, classes).

    Args:
        folded: A DeepViT with `deepvit.model.rewrites.fold.ALWAYS` applied.
        spec: How it is written: images are float32 (B, 3, H, W) normalised, or uint8 (B, H, W, 3); for maps, the last
            block computes all of its tokens.
        preprocessing: Mean and standard deviation, for the uint8 form.
    """

    def __init__(self, folded: DeepViT, spec: GraphSpec, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.patch_embed = copy.deepcopy(folded.patch_embed)
        is_uint8 = spec.input_form is InputForm.UINT8
        self.pixels = pixel_input(self.patch_embed, preprocessing) if is_uint8 else None
        position = folded.pos_embed.detach()
        tokens = tokens_in(folded, spec.token_padding)
        self.pooling, self.real_tokens = folded.architecture.pooling, tokens.real
        self.class_token = nn.Parameter(folded.cls_token.detach() + position[:, :1])
        self.padding = (
            nn.Parameter(self.class_token.detach().repeat(1, extra, 1)) if (extra := tokens.padding) else None
        )
        self.position = nn.Parameter(position[:, 1:].clone())
        is_cut = spec.outputs is Outputs.LOGITS and self.pooling is Pooling.CLS
        last = len(folded.blocks) - 1 if is_cut else None
        self.blocks = nn.ModuleList(
            GraphBlock(block, spec.mix, spec.qkv, tokens, rows=1 if index == last else None)  # type: ignore[arg-type]
            for index, block in enumerate(folded.blocks)
        )
        self.norm, self.head = copy.deepcopy(folded.norm), copy.deepcopy(folded.head)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images if self.pixels is None else self.pixels(images)
        x = self.patch_embed(x) + self.position
        tokens = [self.class_token.expand(x.shape[0], -1, -1), x]
        if self.padding is not None:
            tokens.append(self.padding.expand(x.shape[0], -1, -1))
        x = torch.cat(tokens, dim=1)
        for block in self.blocks:
            x = block(x)
        x = x if x.shape[1] <= self.real_tokens else x[:, : self.real_tokens]
        return self.head(self.norm(pooled(x, self.pooling)))


def tokens_in(model: DeepViT, padding: TokenPadding) -> Tokens:
    """Return how many tokens a model has, and how many rows its graph keeps for them."""
    is_mixed = any(isinstance(block.attn, ReAttention) for block in model.blocks)
    return tokens_of(model.pos_embed.shape[1], padding, is_mixed=is_mixed)
