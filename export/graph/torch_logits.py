"""PyTorch's logits, which the parity ladder starts from."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Float = npt.NDArray[Any]  # of some floating type


def torch_logits(module: torch.nn.Module, images: Float, batch_size: int = 8) -> Float:
    """Run `module` on images of its own dtype: (N, channels, H, W) → (N, classes)."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            parts.append(module(torch.from_numpy(images[start : start + batch_size])).numpy())
    return np.concatenate(parts)
