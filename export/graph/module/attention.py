"""Attention whose scale, norm and mix are folded, in the forms that a graph has it."""

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from deepvit.model.attention import Attention, HeadRms, ReAttention, over_rms
from deepvit.model.rewrites.norms import is_mix_folded
from deepvit.runtime.artifact.manifest import MixForm, QkvForm

from ..padding import Tokens


class GraphRms(nn.Module):
    """M/√(mean_h M² + ε) of mixed maps (B, H, …), times the gain where a head has kept one.

    Of the forms tried side by side (ONNX Runtime, OpenVINO and TensorRT-RTX's listing): LayerNormalization
    between two transposes takes more than twice as long on a CPU and moves a quarter more on a GPU; a product with the
    reciprocal root, or means by a product with ones or by a convolution, are no better anywhere.

    Args:
        norm: What is left of LayerNorm over heads.
        dimensions: How many dimensions maps have behind the heads.
    """

    def __init__(self, norm: HeadRms, dimensions: int) -> None:
        super().__init__()
        # Of each block its own, and blocks that differ in nothing but weights are alike: hence a parameter.
        self.eps = nn.Parameter(norm.gain.new_tensor([norm.eps]))
        if bool((norm.gain != 1.0).any()):
            self.gain = nn.Parameter(norm.gain.detach().view(-1, *(1,) * dimensions).clone())

    def forward(self, mixed: torch.Tensor) -> torch.Tensor:
        scaled = over_rms(mixed, self.eps)
        return scaled * self.gain if hasattr(self, "gain") else scaled


class GraphAttention(nn.Module):
    """Attention whose scale, norm and mix are folded: (B, P, C) → (B, M, C) for the first M ≤ P rows of tokens.

    Args:
        folded: What to write; shares no weights with it.
        mix: How the heads are mixed, where it is re-attention.
        qkv: How q, k and v are computed.
        tokens: How many there are, and how many rows.

    Raises:
        ValueError: Something is left to fold.
    """

    def __init__(self, folded: Attention, mix: MixForm, qkv: QkvForm, tokens: Tokens) -> None:
        super().__init__()
        if folded.scale != 1.0 or not is_mix_folded(folded):
            raise ValueError("GraphAttention needs fold_attention_scale and fold_mix_norm first")
        self.num_heads, self.head_dim = folded.num_heads, folded.head_dim
        self.mix = mix if isinstance(folded, ReAttention) else None
        dtype, has_values = folded.qkv.weight.dtype, self.mix is not None
        self.key_mask = _constant(tokens.key_mask(), dtype) if tokens.padding else None
        self.value_mask = _constant(tokens.value_mask(), dtype) if tokens.padding and has_values else None
        if qkv is QkvForm.SPLIT:
            weights, biases = folded.qkv.weight.detach().chunk(3), folded.qkv.bias.detach().chunk(3)
            self.q, self.k, self.v = (_linear(w, b) for w, b in zip(weights, biases, strict=True))
        else:
            self.qkv = _linear(folded.qkv.weight.detach(), folded.qkv.bias.detach())
        self.proj = copy.deepcopy(folded.proj)
        if isinstance(folded, ReAttention):
            self._set_mix(folded, tokens)

    def _set_mix(self, folded: ReAttention, tokens: Tokens) -> None:
        """Take over Θ', what is left of a norm behind it, and b', what is added to each entry of the maps."""
        matrix, norm = copy.deepcopy(folded.reatten_matrix), folded.var_norm
        assert matrix.bias is not None
        bias = matrix.bias.detach()
        dimensions = 2 if self.mix is MixForm.CONV else 1
        self.head_norm = GraphRms(norm, dimensions) if isinstance(norm, HeadRms) else None
        if isinstance(norm, HeadRms):
            if bool(bias.any()):
                raise ValueError("GraphAttention takes no bias between a mix and LayerNorm over heads")
            bias, matrix.bias = norm.bias.detach(), None
        if self.mix is MixForm.CONV:
            self.reatten_matrix = matrix
        else:
            self.mix_weight = nn.Parameter(matrix.weight.detach().flatten(1).clone())  # (H, H)
        if self.mix is not MixForm.CONV or self.head_norm is not None:
            # P·b' times the mean of v over all rows, instead of b' times its sum
            times = tokens.rows if self.mix is MixForm.MATMUL_VALUE else 1
            self.mix_bias = nn.Parameter(times * bias.view(1, -1, 1, 1))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def _split(self, x: torch.Tensor, rows: int | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return q (B, H, M, d) of the first `rows` rows, k and v (B, H, P, d) of all."""
        if hasattr(self, "qkv"):
            q, k, v = (self._heads(part) for part in self.qkv(x).chunk(3, dim=-1))
            return (q if rows is None else q[:, :, :rows]), k, v
        return self._heads(self.q(x if rows is None else x[:, :rows])), self._heads(self.k(x)), self._heads(self.v(x))

    def _mixed(self, maps: torch.Tensor) -> torch.Tensor:
        """Return Θ'·A, over its root mean square where there is LayerNorm over heads; a convolution adds b' too."""
        mixed = self.reatten_matrix(maps) if self.mix is MixForm.CONV else self.mix_weight @ maps.flatten(2)
        if self.head_norm is not None:
            mixed = self.head_norm(mixed)
        return mixed if self.mix is MixForm.CONV else mixed.view(maps.shape)

    def _attend(self, maps: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Return A'·v with A' the mixed maps, or A·v where nothing is mixed."""
        if self.mix is None:
            return maps @ v
        v = v if self.value_mask is None else v * self.value_mask
        mixed = self._mixed(maps)
        if self.mix is MixForm.MATMUL_VALUE:
            return mixed @ v + self.mix_bias * v.mean(dim=2, keepdim=True)
        return (mixed + self.mix_bias if hasattr(self, "mix_bias") else mixed) @ v

    def forward(self, x: torch.Tensor, rows: int | None = None) -> torch.Tensor:
        """Attend from the first `rows` tokens, or from all, to all."""
        q, k, v = self._split(x, rows)
        scores = q @ k.transpose(-2, -1)
        maps = torch.softmax(scores if self.key_mask is None else scores + self.key_mask, dim=-1)
        return self.proj(self._attend(maps, v).transpose(1, 2).flatten(2))


def _constant(values: npt.NDArray[np.float32], dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(values).to(dtype), requires_grad=False)


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    """Return a linear of these weights, without a bias where it is all zero."""
    has_bias = bool(bias.any())
    new = nn.Linear(weight.shape[1], weight.shape[0], bias=has_bias, dtype=weight.dtype, device="meta")
    new.weight = nn.Parameter(weight.clone())
    if has_bias:
        new.bias = nn.Parameter(bias.clone())
    return new
