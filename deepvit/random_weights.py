"""Random weights that exercise the algebra: for trying the pipeline without a checkpoint, never for accuracy.

The initialisation for training (standard deviation 0.02, untouched BatchNorm statistics) gives nearly uniform
attention and nearly equal logits for every image, so that an export could be wrong and still agree. These weights
give every fold something to do, and different images different logits.
"""

import hashlib
import math
import zlib

import torch
from torch import nn

from deepvit.attention import ReAttention
from deepvit.model import DeepViT

SEED = 0
QKV_GAIN = 2.0  # lets attention pick some tokens over others
MIX_BIAS = 0.01  # β of re-attention's norm: a row sums N entries of A', so that it counts N times
MIX_VARIANCE = 0.0015  # softmaxed maps over some 200 tokens vary little


@torch.no_grad()
def randomize(model: DeepViT, seed: int = SEED) -> DeepViT:
    """Replace every weight of `model` in place by seeded random values and return it in evaluation mode.

    Each entry's values depend on its name, shape and `seed` alone.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            generator = torch.Generator().manual_seed((zlib.crc32(name.encode()) + seed) % 2**31)
            tensor.copy_(_values(name, tensor.shape, generator))
    tokens = model.pos_embed.shape[1]
    for module in model.modules():
        if isinstance(module, ReAttention) and isinstance(module.var_norm, nn.BatchNorm2d):
            mix, norm = module.reatten_matrix, module.var_norm
            assert mix.bias is not None and norm.running_mean is not None and norm.running_var is not None
            # As training would leave it: the mean of Θ·A + b, whose rows of A sum to 1.
            norm.running_mean.copy_(mix.weight.flatten(1).sum(1) / tokens + mix.bias)
            norm.running_var.mul_(MIX_VARIANCE)
            norm.bias.mul_(MIX_BIAS)
    return model.eval()


def _values(name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    noise = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    if name.endswith("running_var"):
        return 1.0 + 0.3 * noise
    if len(shape) == 1:
        return 1.0 + 0.2 * noise if name.endswith("weight") else 0.1 * noise
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
