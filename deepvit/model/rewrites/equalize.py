"""Exact changes of neighbouring tensors, which leave the function as it is and suit a quantisation grid better.

Rescalings: the idea for norms is that of Xiao et al., "SmoothQuant" (arXiv:2211.10438), section 4. All factors are
powers of two, so that not even float32 rounding changes. Each needs a folded model: Θ' and b' in the mix.

Shifts: W·LN(x) + b = W·(LN(x) − c) + (b + W·c), and LN(x) − c is LN with β − c: a constant for each channel (Wei et
al., "Outlier Suppression+", arXiv:2304.09145, section 4.1). Exact in real numbers, and no operation more.
"""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import nn

from ..attention import Attention, HeadRms, ReAttention
from ..network import Block, DeepViT
from .linears import move_value_bias
from .norms import is_mix_folded

Exponents = Sequence[int]
Shifts = Sequence[float]


def _factors(exponents: Exponents, like: torch.Tensor, expected: int, site: str) -> torch.Tensor:
    if len(exponents) != expected:
        raise ValueError(f"{site} has {expected} channels, got {len(exponents)} exponents")
    return torch.tensor([2.0**e for e in exponents], dtype=like.dtype)


@torch.no_grad()
def _scale_norm(norm: nn.LayerNorm, linear: nn.Linear, factors: torch.Tensor) -> None:
    norm.weight.div_(factors)
    norm.bias.div_(factors)
    linear.weight.mul_(factors)


def scale_norm1(block: Block, exponents: Exponents) -> None:
    """LN(x)/s with γ/s and β/s, and (W·diag(s)) in q, k and v: W·LN(x) as before. One exponent a channel."""
    norm, linear = block.norm1, block.attn.qkv
    _scale_norm(norm, linear, _factors(exponents, linear.weight, linear.in_features, "norm1"))


def scale_norm2(block: Block, exponents: Exponents) -> None:
    """As `scale_norm1`, between norm2 and fc1."""
    norm, linear = block.norm2, block.mlp.fc1
    _scale_norm(norm, linear, _factors(exponents, linear.weight, linear.in_features, "norm2"))


@torch.no_grad()
def scale_values(block: Block, exponents: Exponents) -> None:
    """V/s channel by channel, and the projection's columns times s: A'·V is linear in each channel of V."""
    attn = block.attn
    width = attn.num_heads * attn.head_dim
    factors = _factors(exponents, attn.qkv.weight, width, "attn.v")
    attn.qkv.weight[2 * width :].div_(factors[:, None])
    attn.qkv.bias[2 * width :].div_(factors)
    attn.proj.weight.mul_(factors)


@torch.no_grad()
def scale_heads(block: Block, exponents: Exponents) -> None:
    """Row g of Θ' and b'_g divided by t_g, V of head g times t_g: (A'_g/t_g)·(t_g·V_g). One exponent a head."""
    attn = block.attn
    if not isinstance(attn, ReAttention) or not is_mix_folded(attn) or isinstance(attn.var_norm, HeadRms):
        raise ValueError("scale_heads needs re-attention with its norm folded, wholly")
    width = attn.num_heads * attn.head_dim
    factors = _factors(exponents, attn.qkv.weight, attn.num_heads, "attn.heads")
    assert attn.reatten_matrix.bias is not None
    attn.reatten_matrix.weight.div_(factors.view(-1, 1, 1, 1))
    attn.reatten_matrix.bias.div_(factors)
    per_channel = factors.repeat_interleave(attn.head_dim)
    attn.qkv.weight[2 * width :].mul_(per_channel[:, None])
    attn.qkv.bias[2 * width :].mul_(per_channel)


@torch.no_grad()
def scale_queries(block: Block, exponents: Exponents) -> None:
    """Q of head h divided by u_h, K of head h times u_h: q·kᵀ as before. One exponent a head."""
    attn: Attention = block.attn
    width = attn.num_heads * attn.head_dim
    factors = _factors(exponents, attn.qkv.weight, attn.num_heads, "attn.qk").repeat_interleave(attn.head_dim)
    for tensor, shape in ((attn.qkv.weight, (-1, 1)), (attn.qkv.bias, (-1,))):
        tensor[:width].div_(factors.view(shape))
        tensor[width : 2 * width].mul_(factors.view(shape))


@torch.no_grad()
def _shift_norm(norm: nn.LayerNorm, linear: nn.Linear, shifts: Shifts, site: str) -> None:
    if len(shifts) != linear.in_features:
        raise ValueError(f"{site} has {linear.in_features} channels, got {len(shifts)} shifts")
    constants = torch.tensor(shifts, dtype=linear.weight.dtype)
    norm.bias.sub_(constants)
    linear.bias.add_(linear.weight @ constants)


@torch.no_grad()
def shift_norm1(block: Block, shifts: Shifts, tokens: int) -> None:
    """LN(x) − c, and b + W·c in q, k and v; where k or v had no bias, W·c is folded away as their biases are.

    Raises:
        ValueError: v has no bias, and the rows of its maps have no sum to fold W·c by.
    """
    attn = block.attn
    width = attn.num_heads * attn.head_dim
    key_bias, value_bias = attn.qkv.bias[width : 2 * width], attn.qkv.bias[2 * width :]
    has_key_bias, has_value_bias = bool(key_bias.any()), bool(value_bias.any())
    _shift_norm(block.norm1, attn.qkv, shifts, "norm1")
    if not has_key_bias:
        key_bias.zero_()  # softmax does not see it: `fold_key_bias`
    if not has_value_bias:
        move_value_bias(attn, tokens)


def shift_norm2(block: Block, shifts: Shifts, _tokens: int) -> None:
    """As `shift_norm1`, between norm2 and fc1."""
    _shift_norm(block.norm2, block.mlp.fc1, shifts, "norm2")


SHIFTS: dict[str, Callable[[Block, Shifts, int], None]] = {"norm1": shift_norm1, "norm2": shift_norm2}
RESCALINGS: dict[str, Callable[[Block, Exponents], None]] = {
    "norm1": scale_norm1,
    "norm2": scale_norm2,
    "attn.v": scale_values,
    "attn.heads": scale_heads,
    "attn.qk": scale_queries,
}


def equalize(model: DeepViT, sites: Mapping[str, Exponents], shifts: Mapping[str, Shifts] | None = None) -> DeepViT:
    """Return a copy of the folded `model` with every shift, and then every rescaling of `sites` applied.

    Args:
        model: Folded, in evaluation mode.
        sites: `blocks.3.norm1`, or another of RESCALINGS behind the block, to its exponents of two.
        shifts: Likewise of SHIFTS, to the constants of its channels.

    Raises:
        ValueError: No such site, or exponents or constants that do not fit it.
    """
    equalized, tokens = copy.deepcopy(model), model.pos_embed.shape[1]
    for site, constants in (shifts or {}).items():
        block, kind = _place(equalized, site, SHIFTS)
        SHIFTS[kind](block, constants, tokens)
    for site, exponents in sites.items():
        block, kind = _place(equalized, site, RESCALINGS)
        RESCALINGS[kind](block, exponents)
    return equalized


def _place(model: DeepViT, site: str, kinds: Collection[str]) -> tuple[Block, str]:
    _, index, kind = site.split(".", 2)
    if kind not in kinds:
        raise ValueError(f"{site} is none of {', '.join(kinds)}")
    block = model.blocks[int(index)]
    assert isinstance(block, Block)
    return block, kind
