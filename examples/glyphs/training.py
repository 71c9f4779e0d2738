"""A network in training, a step at a time, and its checkpoint."""

import dataclasses
import hashlib
import pathlib

import numpy as np
import torch
from torch import nn

from deepvit.model import DeepViT, Variant, create_deepvit
from deepvit.runtime.files import replaced

from .recipe import SEED, Recipe


class Training:
    """A network and its optimizers after `step` steps of a recipe; two that went as far are the same to the bit.

    Muon (Jordan and others, 2024) has the matrices of the blocks, AdamW all else.

    Args:
        variant: The network.
        recipe: How it is trained.
        masters: (faces, characters, 64, 64) uint8, of the faces that are trained on.
        device: PyTorch's.
    """

    def __init__(self, variant: Variant, recipe: Recipe, masters: np.ndarray, device: str = "cpu") -> None:
        torch.manual_seed(SEED)
        self.variant, self.recipe, self.masters, self.device = variant, recipe, masters, torch.device(device)
        self.model = create_deepvit(variant).to(self.device, memory_format=torch.channels_last)
        self.step = 0
        matrices = [each for each in self.model.blocks.parameters() if each.ndim == 2]
        theirs = {id(each) for each in matrices}
        others = [each for each in self.model.parameters() if id(each) not in theirs]
        decay = recipe.weight_decay
        self.optimizers = (
            torch.optim.Muon(matrices, lr=recipe.muon_rate, weight_decay=decay),
            torch.optim.AdamW(others, lr=recipe.adam_rate, weight_decay=decay, betas=(0.9, 0.98)),
        )

    def advance(self) -> float:
        """Take a step and return its loss."""
        self.model.train()
        for optimizer, rate in zip(self.optimizers, (self.recipe.muon_rate, self.recipe.adam_rate), strict=True):
            optimizer.param_groups[0]["lr"] = rate * self.recipe.rate(self.step)
        pictures, labels = self.recipe.pictures(self.masters, self.step)
        logits = _logits(self.model, pictures)
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels).to(self.device))
        self.model.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        return loss.item()

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights in FP16, but for the counters of BatchNorm, on the CPU."""
        state = self.model.state_dict()
        return {
            name: (each.half() if each.is_floating_point() else each).cpu().contiguous() for name, each in state.items()
        }

    def save(self, path: pathlib.Path) -> None:
        """Write the checkpoint, in one step: a process that is killed leaves the one before."""
        content = {
            "of": self._described(),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizers": [each.state_dict() for each in self.optimizers],
        }
        with replaced(path) as staged:
            torch.save(content, staged)

    def resume(self, path: pathlib.Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: It is of another network, recipe, or other faces.
        """
        content = torch.load(path, map_location=self.device, weights_only=True)
        if content["of"] != self._described():
            raise ValueError(f"{path} is of {content['of']}, expected {self._described()}; remove it to begin again")
        self.step = content["step"]
        self.model.load_state_dict(content["model"])
        for optimizer, state in zip(self.optimizers, content["optimizers"], strict=True):
            optimizer.load_state_dict(state)

    def _described(self) -> dict[str, object]:
        pictures, _ = self.recipe.pictures(self.masters, self.recipe.steps)  # at full strength
        drawn = {"masters": _sha256(self.masters), "pictures": _sha256(pictures)}
        return {"network": repr(self.variant.architecture), **drawn, **dataclasses.asdict(self.recipe)}


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def _logits(model: DeepViT, pictures: np.ndarray) -> torch.Tensor:
    """Return float32 logits (B, classes) of pictures (B, 48, 48, 3) uint8; products are in BF16."""
    device = model.head.weight.device
    images = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1  # mean and std 0.5
    with torch.autocast(device.type, torch.bfloat16):
        logits: torch.Tensor = model(images)
    return logits.float()


@torch.inference_mode()
def accuracy(model: DeepViT, pictures: np.ndarray, labels: np.ndarray) -> float:
    """Return the top-1 accuracy, 0 to 1."""
    model.eval()
    places = range(0, len(pictures), 256)
    chosen = torch.cat([_logits(model, pictures[place : place + 256]).argmax(1).cpu() for place in places])
    return float((chosen.numpy() == labels).mean())
