"""Pixels as the graph's input: the normalisation in the first convolution, or before it."""

import torch
from torch import nn

from deepvit.model.network import NormedStem, PatchEmbedding
from deepvit.runtime.preprocess import Preprocessing

CENTERED_SCALE = 2.0**-7  # brings centred pixels into [-1, 1]; a power of two, hence exact in every float type


class PixelInput(nn.Module):
    """Cropped pixels (B, H, W, 3) uint8 → what the rescaled first convolution takes, (B, 3, H, W).

    With W' = W·(2⁷/(255·σ)): W∗((p/255 − μ)/σ) = W'∗((p − 255·μ)·2⁻⁷). The mean moves on into the convolution's bias,
    as −Σ W·μ/σ, where it does not pad: a padded zero stands for the mean, not for black.
    """

    def __init__(self, mean: torch.Tensor, has_padding: bool) -> None:
        super().__init__()
        self.has_padding = has_padding
        self.shift = nn.Parameter(255 * mean.view(1, -1, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = pixels.to(self.shift.dtype).permute(0, 3, 1, 2)  # in this order: TensorRT's uint8 can only be cast
        return (x - self.shift if self.has_padding else x) * CENTERED_SCALE


class PixelNormalization(nn.Module):
    """Cropped pixels (B, H, W, 3) uint8 → (p/255 − μ)/σ, (B, 3, H, W), for a stem whose LayerNorm has to see that."""

    def __init__(self, preprocessing: Preprocessing, dtype: torch.dtype) -> None:
        super().__init__()
        mean, std = (torch.tensor(each, dtype=dtype).view(-1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
        self.shift, self.scale = nn.Parameter(255 * mean), nn.Parameter(1 / (255 * std))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.to(self.shift.dtype).permute(0, 3, 1, 2) - self.shift) * self.scale


def pixel_input(stem: PatchEmbedding, preprocessing: Preprocessing) -> PixelInput | PixelNormalization:
    if isinstance(stem, NormedStem):
        return PixelNormalization(preprocessing, stem.proj.weight.dtype)
    return fold_normalization(stem.first_conv, preprocessing)


@torch.no_grad()
def fold_normalization(conv: nn.Conv2d, preprocessing: Preprocessing) -> PixelInput:
    """Rescale `conv` in place so that it takes pixels, and return what goes before it; formula in `PixelInput`."""
    mean, std = (torch.tensor(values, dtype=conv.weight.dtype) for values in (preprocessing.mean, preprocessing.std))
    has_padding = any(conv.padding) if isinstance(conv.padding, tuple) else conv.padding != "valid"
    if not has_padding:
        shift = (conv.weight * (mean / std).view(1, -1, 1, 1)).sum(dim=(1, 2, 3))
        if conv.bias is None:
            conv.bias = nn.Parameter(-shift)
        else:
            conv.bias.sub_(shift)
    conv.weight.mul_((1 / (CENTERED_SCALE * 255 * std)).view(1, -1, 1, 1))
    return PixelInput(mean, has_padding)
