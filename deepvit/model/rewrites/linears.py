"""Folds of a block's linears: scales, biases that nothing sees or that move on, the width of a head."""

import torch
from torch import nn

from ..attention import Attention, ReAttention
from ..network import DeepViT
from .norms import is_mix_folded
from .report import FoldReport, attentions_of, blocks_of, report_of

HEAD_DIM_MULTIPLE = 8  # what tensor cores want of a GEMM's inner dimension in 16-bit types


@torch.no_grad()
def fold_scale_adjustment(model: DeepViT) -> FoldReport:
    """Fold `scale_adjustment` a away.

    LN(a·x; ε) = LN(x; ε/a²), and f(·)/a is f with its last linear's weight and bias divided by a.
    """
    pairs = []
    for block in blocks_of(model):
        a = block.scale_adjustment
        if a == 1.0:
            continue
        for norm in (block.norm1, block.norm2):
            norm.eps = norm.eps / a**2
        for linear in (block.attn.proj, block.mlp.fc2):
            linear.weight.div_(a)
            linear.bias.div_(a)
            pairs.append((linear.weight, linear.bias))
        block.scale_adjustment = 1.0
    return report_of("scale_adjustment", pairs)


@torch.no_grad()
def fold_attention_scale(model: DeepViT) -> FoldReport:
    """Fold the attention scale s into q: s·(W_q·x + b_q)·kᵀ = ((s·W_q)·x + s·b_q)·kᵀ."""
    pairs = []
    for attn in attentions_of(model):
        if attn.scale == 1.0:
            continue
        rows = attn.num_heads * attn.head_dim
        for tensor in (attn.qkv.weight, attn.qkv.bias):
            tensor[:rows].mul_(attn.scale)
        attn.scale = 1.0
        pairs.append((attn.qkv.weight[:rows], attn.qkv.bias[:rows]))
    return report_of("attention_scale", pairs)


@torch.no_grad()
def fold_key_bias(model: DeepViT) -> FoldReport:
    """Drop the bias of k: q·(k + b_k)ᵀ adds q·b_k to a whole row, which softmax does not see."""
    pairs = []
    for attn in attentions_of(model):
        rows = attn.num_heads * attn.head_dim
        key_bias = attn.qkv.bias[rows : 2 * rows]
        if bool(key_bias.any()):
            key_bias.zero_()
            pairs.append((attn.qkv.weight[rows : 2 * rows], key_bias))
    return report_of("key_bias", pairs)


@torch.no_grad()
def fold_value_bias(model: DeepViT) -> FoldReport:
    """Move the bias of v into the projection's.

    The rows of head g's maps sum to r_g, so that A'_g·(V_g + 1·b_vᵀ) = A'_g·V_g + r_g·1·b_vᵀ, and the projection's bias
    becomes b + W·concat_g(r_g·b_v,g). r is 1 for softmaxed maps and Σ_h Θ'[g,h] + N·b'_g for mixed ones, which is why
    this needs `fold_mix_norm` first; a block where that has not been done is left alone, and so is one with LayerNorm
    over heads, whose rows have no such sum.
    """
    tokens = model.pos_embed.shape[1]
    moved = [attn for attn in attentions_of(model) if has_row_sums(attn) and move_value_bias(attn, tokens)]
    return report_of("value_bias", [(attn.proj.weight, attn.proj.bias) for attn in moved])


def has_row_sums(attn: Attention) -> bool:
    """Return whether the rows of each head's maps sum to a constant that is known."""
    return is_mix_folded(attn) and (not isinstance(attn, ReAttention) or isinstance(attn.var_norm, nn.Identity))


@torch.no_grad()
def move_value_bias(attn: Attention, tokens: int) -> bool:
    """Move the bias of v into the projection's, as `fold_value_bias`; return whether there was one.

    Raises:
        ValueError: The rows of the maps have no sum that is known.
    """
    if not has_row_sums(attn):
        raise ValueError("move_value_bias needs fold_mix_norm first, and no LayerNorm over heads")
    value_bias = attn.qkv.bias[2 * attn.num_heads * attn.head_dim :]
    if not bool(value_bias.any()):
        return False
    sums = torch.ones(attn.num_heads, dtype=value_bias.dtype)
    if isinstance(attn, ReAttention):
        assert attn.reatten_matrix.bias is not None
        sums = attn.reatten_matrix.weight.flatten(1).sum(1) + tokens * attn.reatten_matrix.bias
    attn.proj.bias.add_(attn.proj.weight @ (value_bias * sums.repeat_interleave(attn.head_dim)))
    value_bias.zero_()
    return True


@torch.no_grad()
def pad_head_dim(model: DeepViT) -> FoldReport:
    """Pad the head width to a multiple of 8 with zeros: q·kᵀ gains 0·0, v gains columns that meet zero weights.

    Needs `fold_attention_scale` or an explicit scale: the scale keeps belonging to the unpadded width.
    """
    pairs = []
    for attn in attentions_of(model):
        extra = -attn.head_dim % HEAD_DIM_MULTIPLE
        if not extra:
            continue
        heads, old, dim = attn.num_heads, attn.head_dim, attn.qkv.in_features
        weight = nn.functional.pad(attn.qkv.weight.view(3, heads, old, dim), (0, 0, 0, extra)).reshape(-1, dim)
        bias = nn.functional.pad(attn.qkv.bias.view(3, heads, old), (0, extra)).reshape(-1)
        proj = nn.functional.pad(attn.proj.weight.view(dim, heads, old), (0, extra)).reshape(dim, -1)
        attn.qkv = _linear_with(weight, bias)
        attn.proj = _linear_with(proj, attn.proj.bias)
        attn.head_dim = old + extra
        pairs.append((weight, bias))
    return report_of("pad_head_dim", pairs)


def _linear_with(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    new = nn.Linear(weight.shape[1], weight.shape[0], device="meta", dtype=weight.dtype)
    new.weight, new.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias)
    return new
