"""Random weights that exercise the algebra: for trying the pipeline without a checkpoint, never for accuracy.

The initialisation for training (standard deviation 0.02, untouched BatchNorm statistics) gives nearly uniform
attention and nearly equal logits for every image, so that an export could be wrong and still agree. These weights
give every fold something to do, and different images different logits.
"""

import hashlib
import math
import zlib

import torch

from ..network import DeepViT

SEED = 0
QKV_GAIN = 1.5  # times the variance that keeps a signal's size


@torch.no_grad()
def randomize(model: DeepViT, seed: int = SEED) -> DeepViT:
    """Replace every weight of `model` in place by seeded random values and return it in evaluation mode.

    Each entry's values depend on its name, shape and `seed` alone.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            generator = torch.Generator().manual_seed((zlib.crc32(name.encode()) + seed) % 2**31)
            tensor.copy_(_values(name, tensor.shape, generator))
    return model.eval()


def _values(name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    """Draw one entry, float64: attention picks some tokens over others, activations stay far below FP16's limit."""
    noise = torch.rand(shape, generator=generator, dtype=torch.float64).mul_(2).sub_(1)
    is_mix = "var_norm" in name or "reatten_matrix" in name
    if name.endswith("running_var"):
        return (0.05 + 0.02 * noise) if is_mix else (1.0 + 0.3 * noise)
    if name.endswith(("running_mean", "bias")):
        # A row of A' sums N entries, so that what is added to each counts N times.
        return (0.002 if is_mix else 0.1) * noise
    if len(shape) == 1:
        return 1.0 + 0.2 * noise
    if name in ("pos_embed", "cls_token"):
        return 0.5 * noise
    fan_in = math.prod(shape) // shape[0]
    return noise * math.sqrt(3.0 * (QKV_GAIN if ".qkv." in name else 1.0) / fan_in)


def state_sha256(model: torch.nn.Module) -> str:
    """Return the SHA-256 of a module's state dict: names, shapes, dtypes and bytes, in sorted order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
