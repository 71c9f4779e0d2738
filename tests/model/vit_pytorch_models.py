"""DeepViTs of vit-pytorch, with weights that give every fold something to do, in each layout that it ever wrote."""

import dataclasses
import re

import torch
from einops.layers.torch import Rearrange
from vit_pytorch.deepvit import DeepViT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    dim: int = 24
    depth: int = 2
    heads: int = 3
    dim_head: int = 8
    mlp_dim: int = 40
    patch_size: int = 8
    image_size: int = 32
    num_classes: int = 5
    pool: str = "cls"
    is_old: bool = False  # before 1.0: patches by a linear alone, blocks wrapped


CONFIGS = {
    "plain": Config(),
    "mean, odd heads": Config(dim=20, heads=5, dim_head=7, mlp_dim=33, pool="mean"),
    "old": Config(is_old=True, heads=4, dim_head=16),
    "old, mean, deep": Config(is_old=True, pool="mean", depth=4, dim=32, heads=2, image_size=48, num_classes=7),
    "wide, small patches": Config(dim=64, depth=3, heads=8, dim_head=4, mlp_dim=200, patch_size=4),
}


def model_of(config: Config, seed: int = 0) -> torch.nn.Module:
    """Return vit-pytorch's own module, in evaluation mode."""
    torch.manual_seed(seed)
    sizes = {key: value for key, value in dataclasses.asdict(config).items() if key != "is_old"}
    model = DeepViT(**sizes)
    if config.is_old:
        size = config.patch_size
        model.to_patch_embedding = torch.nn.Sequential(
            Rearrange("b c (h p1) (w p2) -> b (h w) (p1 p2 c)", p1=size, p2=size),
            torch.nn.Linear(3 * size**2, config.dim),
        )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms begin as ones and zeros
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def state_of(model: torch.nn.Module, config: Config) -> dict[str, torch.Tensor]:
    """Return its state dict, under the names that its version had."""
    return {_old_name(key) if config.is_old else key: value.clone() for key, value in model.state_dict().items()}


def _old_name(key: str) -> str:
    key = re.sub(r"(layers\.\d+\.0\.)norm\.", r"\1fn.norm.", key)
    key = re.sub(r"(layers\.\d+\.0\.)(to_qkv|to_out|reattn)", r"\1fn.fn.\2", key)
    key = re.sub(r"(layers\.\d+\.1\.)net\.0\.", r"\1fn.norm.", key)
    key = re.sub(r"(layers\.\d+\.1\.)net\.1\.", r"\1fn.fn.net.0.", key)
    return re.sub(r"(layers\.\d+\.1\.)net\.4\.", r"\1fn.fn.net.3.", key)
