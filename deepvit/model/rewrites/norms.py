"""Folds of the norms that follow a convolution or the mix of the heads."""

import math

import torch
from torch import nn

from ..attention import Attention, HeadNorm, HeadRms, ReAttention
from ..network import CnnStem, DeepViT
from .report import FoldReport, attentions_of, report_of

LARGEST_MIXED = 2.0**7  # bounds centred maps, so that their squares stay within FP16, and ε above its subnormals
LEAST_GAIN = 2.0**-6  # of the largest: what a smaller γ divides grows too large


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
    return report_of("stem_norms", pairs)


@torch.no_grad()
def fold_mix_norm(model: DeepViT) -> FoldReport:
    """Fold BatchNorm and `reatten_scale` into the mix of the heads.

    s·BN(Θ·A + b) = Θ'·A + b' with Θ' = s·diag(γ/√(σ²+ε))·Θ and b' = s·(γ/√(σ²+ε)·(b − μ) + β). Of LayerNorm over heads
    it is the centring that folds, see `_centred`.
    """
    pairs = []
    for attn in attentions_of(model):
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
    return report_of("mix_norm", pairs)


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
    for attn in attentions_of(model):
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
    return report_of("head_gain", pairs)


def is_mix_folded(attn: Attention) -> bool:
    """Return whether nothing but Θ', b' and `HeadRms` is left between softmax and v."""
    if not isinstance(attn, ReAttention):
        return True
    return isinstance(attn.var_norm, nn.Identity | HeadRms) and attn.reatten_scale == 1.0
