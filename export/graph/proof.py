"""PyTorch's logits, which the parity ladder starts from, and the proof that a rewrite left them as they were."""

import numpy as np
import torch

from deepvit.images.samples import float64_images
from deepvit.metrics.bounds import FOLD_BOUND, prove
from deepvit.metrics.distance import Float
from deepvit.model.network import DeepViT
from deepvit.runtime.manifest import ParityStage
from deepvit.runtime.tensors import Images


def torch_logits(module: torch.nn.Module, images: Float, batch_size: int = 8) -> Float:
    """Run `module` on images of its own dtype: (N, channels, H, W) → (N, classes)."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            parts.append(module(torch.from_numpy(images[start : start + batch_size])).numpy())
    return np.concatenate(parts)


def prove_rewrite(stage: str, against: str, rewritten: DeepViT, original: DeepViT, images: Images) -> ParityStage:
    """Hold a rewritten model against the original, both in float64, on a few of `images` (N, channels, H, W).

    Raises:
        OutOfBoundsError: It gives other logits.
    """
    wide = images[: float64_images(original.img_size)].astype(np.float64)
    expected = torch_logits(original, wide)
    return prove(stage, against, torch_logits(rewritten, wide), expected, FOLD_BOUND)
