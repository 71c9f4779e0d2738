"""Exact rewrites of a trained DeepViT: fewer operations, the same function. FOLDS lists them in order.

Every fold is algebra, exact in real numbers for a model in evaluation mode, and is computed in float64. Each changes
the model in place, reports what it touched, and does nothing the second time.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import nn

from ..attention import Attention, HeadNorm, HeadRms, ReAttention
from ..network import Block, CnnStem, DeepViT

LARGEST_MIXED = 2.0**7  # bounds centred maps, so that their squares stay within FP16, and ε above its subnormals
LEAST_GAIN = 2.0**-6  # of the largest: what a smaller γ divides grows too large
HEAD_DIM_MULTIPLE = 8  # what tensor cores want of a GEMM's inner dimension in 16-bit types


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldReport:
    """What one fold did. FP16 stores 11 significant bits up to 65504, so large entries cost precision there."""

    name: str
    applied: int  # modules that were rewritten; 0 where there was nothing to do
    max_abs_weight: float = 0.0  # the largest |entry| that the fold wrote: |Θ'| for the mix
    max_abs_bias: float = 0.0  # likewise |b'|


Fold = Callable[[DeepViT], FoldReport]


def _blocks(model: DeepViT) -> Iterator[Block]:
    for block in model.blocks:
        assert isinstance(block, Block)
        yield block


def _attentions(model: DeepViT) -> Iterator[Attention]:
    return (block.attn for block in _blocks(model))


def _report(name: str, pairs: Sequence[tuple[torch.Tensor, torch.Tensor | None]]) -> FoldReport:
    """Report the weights and biases that a fold has written."""
    return FoldReport(
        name=name,
        applied=len(pairs),
        max_abs_weight=max((float(weight.abs().max()) for weight, _ in pairs), default=0.0),
        max_abs_bias=max((float(bias.abs().max()) for _, bias in pairs if bias is not None), default=0.0),
    )


def _batch_norm_affine(norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (scale, shift) of a BatchNorm in evaluation: γ/√(σ²+ε) and β − μ·scale, float64."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _conv_with(conv: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor) -> nn.Conv2d:
    """Return a convolution like `conv` with other weights and a bias."""
    out, into, *kernel = weight.shape
    new = nn.Conv2d(into, out, tuple(kernel), conv.stride, conv.padding, dtype=weight.dtype, device="meta")  # type: ignore[arg-type]
    new.weight, new.bias = nn.Parameter(weight), nn.Parameter(bias)
    return new.eval()


@torch.no_grad()
def fold_stem_norms(model: DeepViT) -> FoldReport:
    """Fold the CNN stem's BatchNorms into its convolutions.

    BN(W∗x) = (s·W)∗x + t with s = γ/√(σ²+ε), t = β − μ·s.
    """
    stem, pairs = model.patch_embed, []
    if isinstance(stem, CnnStem) and isinstance(stem.bn1, nn.BatchNorm2d):
        for conv_name, norm_name in (("conv1", "bn1"), ("conv2", "bn2")):
            conv = getattr(stem, conv_name)
            scale, shift = _batch_norm_affine(getattr(stem, norm_name))
            new = _conv_with(conv, conv.weight.double() * scale.view(-1, 1, 1, 1), shift)
            setattr(stem, conv_name, new)
            setattr(stem, norm_name, nn.Identity())
            pairs.append((new.weight, new.bias))
    return _report("stem_norms", pairs)


@torch.no_grad()
def fold_mix_norm(model: DeepViT) -> FoldReport:
    """Fold BatchNorm and `reatten_scale` into the mix of the heads.

    s·BN(Θ·A + b) = Θ'·A + b' with Θ' = s·diag(γ/√(σ²+ε))·Θ and b' = s·(γ/√(σ²+ε)·(b − μ) + β). Of LayerNorm over heads
    it is the centring that folds, see `_centred`.
    """
    pairs = []
    for attn in _attentions(model):
        if not isinstance(attn, ReAttention):
            continue
        if isinstance(attn.var_norm, HeadNorm):
            attn.reatten_matrix, attn.var_norm = _centred(attn.reatten_matrix, attn.var_norm, attn.reatten_scale)
            attn.reatten_scale = 1.0
            pairs.append((attn.reatten_matrix.weight, attn.reatten_matrix.bias))
            continue
        has_norm = isinstance(attn.var_norm, nn.BatchNorm2d)
        if not has_norm and attn.reatten_scale == 1.0:
            continue
        mix, weight = attn.reatten_matrix, attn.reatten_matrix.weight.double()
        scale, shift = (
            _batch_norm_affine(attn.var_norm) if has_norm else (weight.new_ones(weight.shape[0]), weight.new_zeros(1))
        )
        assert mix.bias is not None
        attn.reatten_matrix = _conv_with(
            mix,
            attn.reatten_scale * scale.view(-1, 1, 1, 1) * weight,
            attn.reatten_scale * (scale * mix.bias.double() + shift),
        )
        attn.var_norm, attn.reatten_scale = nn.Identity(), 1.0
        pairs.append((attn.reatten_matrix.weight, attn.reatten_matrix.bias))
    return _report("mix_norm", pairs)


def _centred(mix: nn.Conv2d, norm: HeadNorm, scale: float) -> tuple[nn.Conv2d, HeadRms]:
    """Return a mix that does the centring of LayerNorm over heads, and what is left of the norm.

    With C = I − 11ᵀ/H: LN_h(Θ·A + b) = γ·M/√(mean_h M² + ε) + β with M = C·Θ·A + C·b. A factor t of M cancels where ε
    becomes t²·ε: M' = t·C·Θ·A + t·C·b, of which |M'_g| ≤ Σ_h |t·(CΘ)[g,h]| + |t·(Cb)_g|, as 0 ≤ A ≤ 1. t is the largest
    power of two that keeps that within LARGEST_MIXED. `scale` goes into γ and β.
    """
    assert mix.bias is not None
    weight, bias = (tensor.double() - tensor.double().mean(0, keepdim=True) for tensor in (mix.weight, mix.bias))
    bound = float((weight.flatten(1).abs().sum(1) + bias.abs()).max())
    factor = 2.0 ** math.floor(math.log2(LARGEST_MIXED / bound)) if bound > 0 else 1.0
    rest = HeadRms(scale * norm.weight.detach(), scale * norm.bias.detach(), factor**2 * norm.eps)
    return _conv_with(mix, factor * weight, factor * bias), rest


@torch.no_grad()
def fold_head_gain(model: DeepViT) -> FoldReport:
    """Move the gain of LayerNorm over heads into V, head by head: (γ·R + β)·V = (R + β/γ)·(γ·V).

    A head whose gain is less than LEAST_GAIN of the largest keeps it.
    """
    pairs = []
    for attn in _attentions(model):
        norm = attn.var_norm if isinstance(attn, ReAttention) else None
        if not isinstance(norm, HeadRms):
            continue
        gain = norm.gain.clone()
        gain[gain.abs() < LEAST_GAIN * gain.abs().max()] = 1.0
        if bool((gain == 1.0).all()):
            continue
        rows = attn.num_heads * attn.head_dim
        weight, bias = attn.qkv.weight[2 * rows :], attn.qkv.bias[2 * rows :]
        factors = gain.repeat_interleave(attn.head_dim)
        weight.mul_(factors[:, None])
        bias.mul_(factors)
        norm.gain.div_(gain)
        norm.bias.div_(gain)
        pairs.append((weight, norm.bias))
    return _report("head_gain", pairs)


@torch.no_grad()
def fold_scale_adjustment(model: DeepViT) -> FoldReport:
    """Fold `scale_adjustment` a away.

    LN(a·x; ε) = LN(x; ε/a²), and f(·)/a is f with its last linear's weight and bias divided by a.
    """
    pairs = []
    for block in _blocks(model):
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
    return _report("scale_adjustment", pairs)


@torch.no_grad()
def fold_attention_scale(model: DeepViT) -> FoldReport:
    """Fold the attention scale s into q: s·(W_q·x + b_q)·kᵀ = ((s·W_q)·x + s·b_q)·kᵀ."""
    pairs = []
    for attn in _attentions(model):
        if attn.scale == 1.0:
            continue
        rows = attn.num_heads * attn.head_dim
        for tensor in (attn.qkv.weight, attn.qkv.bias):
            tensor[:rows].mul_(attn.scale)
        attn.scale = 1.0
        pairs.append((attn.qkv.weight[:rows], attn.qkv.bias[:rows]))
    return _report("attention_scale", pairs)


@torch.no_grad()
def fold_key_bias(model: DeepViT) -> FoldReport:
    """Drop the bias of k: q·(k + b_k)ᵀ adds q·b_k to a whole row, which softmax does not see."""
    pairs = []
    for attn in _attentions(model):
        rows = attn.num_heads * attn.head_dim
        key_bias = attn.qkv.bias[rows : 2 * rows]
        if bool(key_bias.any()):
            key_bias.zero_()
            pairs.append((attn.qkv.weight[rows : 2 * rows], key_bias))
    return _report("key_bias", pairs)


@torch.no_grad()
def fold_value_bias(model: DeepViT) -> FoldReport:
    """Move the bias of v into the projection's.

    The rows of head g's maps sum to r_g, so that A'_g·(V_g + 1·b_vᵀ) = A'_g·V_g + r_g·1·b_vᵀ, and the projection's bias
    becomes b + W·concat_g(r_g·b_v,g). r is 1 for softmaxed maps and Σ_h Θ'[g,h] + N·b'_g for mixed ones, which is why
    this needs `fold_mix_norm` first; a block where that has not been done is left alone, and so is one with LayerNorm
    over heads, whose rows have no such sum.
    """
    tokens = model.pos_embed.shape[1]
    pairs = []
    for attn in _attentions(model):
        rows = attn.num_heads * attn.head_dim
        value_bias = attn.qkv.bias[2 * rows :]
        is_summed = not isinstance(attn, ReAttention) or isinstance(attn.var_norm, nn.Identity)
        if not bool(value_bias.any()) or not is_mix_folded(attn) or not is_summed:
            continue
        sums = torch.ones(attn.num_heads, dtype=value_bias.dtype)
        if isinstance(attn, ReAttention):
            assert attn.reatten_matrix.bias is not None
            sums = attn.reatten_matrix.weight.flatten(1).sum(1) + tokens * attn.reatten_matrix.bias
        attn.proj.bias.add_(attn.proj.weight @ (value_bias * sums.repeat_interleave(attn.head_dim)))
        value_bias.zero_()
        pairs.append((attn.proj.weight, attn.proj.bias))
    return _report("value_bias", pairs)


@torch.no_grad()
def pad_head_dim(model: DeepViT) -> FoldReport:
    """Pad the head width to a multiple of 8 with zeros: q·kᵀ gains 0·0, v gains columns that meet zero weights.

    Needs `fold_attention_scale` or an explicit scale: the scale keeps belonging to the unpadded width.
    """
    pairs = []
    for attn in _attentions(model):
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
    return _report("pad_head_dim", pairs)


def _linear_with(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    new = nn.Linear(weight.shape[1], weight.shape[0], device="meta", dtype=weight.dtype)
    new.weight, new.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias)
    return new


def is_mix_folded(attn: Attention) -> bool:
    """Return whether nothing but Θ', b' and `HeadRms` is left between softmax and v."""
    if not isinstance(attn, ReAttention):
        return True
    return isinstance(attn.var_norm, nn.Identity | HeadRms) and attn.reatten_scale == 1.0


FOLDS: tuple[Fold, ...] = (
    fold_stem_norms,
    fold_mix_norm,
    fold_scale_adjustment,
    fold_attention_scale,
    fold_key_bias,
    fold_value_bias,
    pad_head_dim,
)
ALWAYS: tuple[Fold, ...] = FOLDS[:4]  # what every exported graph has; the last three pay on some targets


def fold(model: DeepViT, folds: Iterable[Fold] = ALWAYS) -> tuple[DeepViT, list[FoldReport]]:
    """Return a float64 copy of `model` with `folds` applied in order, and what each did.

    Raises:
        ValueError: The model is in training mode, where BatchNorm does not use its running statistics.
    """
    if model.training:
        raise ValueError("fold needs a model in evaluation mode; call model.eval() first")
    folded = float64_copy(model)
    reports = [apply(folded) for apply in folds]
    return folded, reports


def float64_copy(model: DeepViT) -> DeepViT:
    """Return a copy in float64, in which a rewrite can be told from rounding."""
    return copy.deepcopy(model).double()
