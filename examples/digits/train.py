"""Train the two small models whose weights come with deepvit: python examples/digits/train.py DATASET.

Seeded; on another machine or number of threads the last digits differ. Takes some minutes on two cores.
"""

import argparse
import hashlib
import math

import torch
from safetensors.torch import save_file
from torch import nn

from deepvit.images.decode import decode_images
from deepvit.images.imagenet import open_dataset
from deepvit.model import VARIANTS, DeepViT, Variant, create_deepvit
from deepvit.model.weights.published import TRAINED_HERE
from deepvit.runtime.preprocess import model_input

NAMES = ("digits_patch", "digits_cnn")
EPOCHS = 90
BATCH = 64
LEARNING_RATE = 1.5e-3
SEED = 0


def load_split(root: str, variant: Variant, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all images of a split as (N, 3, H, W) float32, normalised, and their labels (N,)."""
    preprocessing = variant.preprocessing(variant.img_size)
    decoded = list(decode_images(open_dataset(root, variant.num_classes, split), [preprocessing], workers=0))
    images = torch.stack([torch.from_numpy(model_input(item.crop[None], preprocessing, 3)[0]) for item in decoded])
    return images, torch.tensor([item.label for item in decoded])


def distort(images: torch.Tensor) -> torch.Tensor:
    """Rotate by up to 12°, scale by up to 10% and shift by up to 10%, each image on its own."""
    count = len(images)
    angle = (torch.rand(count) * 2 - 1) * math.radians(12)
    scale = 1 + 0.1 * (torch.rand(count) * 2 - 1)
    shift = 0.2 * (torch.rand(count, 2) - 0.5) * 2
    matrix = torch.stack(
        (scale * angle.cos(), -scale * angle.sin(), shift[:, 0], scale * angle.sin(), scale * angle.cos(), shift[:, 1]),
        dim=1,
    ).view(count, 2, 3)
    grid = nn.functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images + 1, grid, align_corners=False) - 1  # what comes in from outside is black


@torch.inference_mode()
def accuracy(model: DeepViT, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the top-1 accuracy in percent."""
    chosen = torch.cat([model(part).argmax(1) for part in images.split(256)])
    return 100 * float((chosen == labels).float().mean())


def train(variant: Variant, dataset: str, epochs: int = EPOCHS) -> DeepViT:
    """Train `variant` on the training split and print how it does on the held-out one."""
    torch.manual_seed(SEED)
    images, labels = load_split(dataset, variant, "train")
    held_out = load_split(dataset, variant, "val")
    model = create_deepvit(variant, drop_path_rate=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    for epoch in range(epochs):
        model.train()
        for chosen in torch.randperm(len(images))[: len(images) // BATCH * BATCH].view(-1, BATCH):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(distort(images[chosen])), labels[chosen], label_smoothing=0.1)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        if epoch % 10 == 9 or epoch == epochs - 1:
            score = accuracy(model.eval(), *held_out)
            print(f"{variant.name} epoch {epoch + 1}: loss {loss.item():.3f}, held-out {score:.2f}%", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="what make_dataset.py wrote")
    dataset = parser.parse_args().dataset
    TRAINED_HERE.mkdir(exist_ok=True)
    for name in NAMES:
        model = train(VARIANTS[name], dataset)
        path = TRAINED_HERE / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
        print(f"{path.name}: {path.stat().st_size} bytes, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
