"""Train a plain ViT and a DeepViT of 16 blocks on handwritten digits, to see attention collapse in the plain one.

Usage: python -m examples.collapse.train DATASET WEIGHTS, where DATASET is what examples/digits/make_dataset.py wrote,
and WEIGHTS a folder for the two checkpoints; then measure.py. Seeded; on another machine or number of threads the last
digits differ. About six minutes on a core that has nothing else to do.
"""

import argparse
import pathlib
import time

from safetensors.torch import save_file

from deepvit.model.variants import Architecture, Variant
from examples.digits.train import train

DEPTH = 16
EPOCHS = 30


def collapse_variants(depth: int = DEPTH, embed_dim: int = 96) -> dict[str, Variant]:
    """Return the two networks, alike but for re-attention: plain in every block, and re-attention in every block."""
    return {
        name: Variant(
            name=name,
            architecture=Architecture(
                depth=depth, embed_dim=embed_dim, reattention_blocks=blocks, num_heads=4, patch_size=8
            ),
            parameters=0,  # unused here
            top1=None,
            img_size=40,
            num_classes=10,
        )
        for name, blocks in ((f"digits_vit_{depth}", 0), (f"digits_deepvit_{depth}", depth))
    }


def train_both(variants: dict[str, Variant], dataset: str, folder: pathlib.Path, epochs: int) -> None:
    """Train each variant and write NAME.safetensors, how it was trained among its metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, variant in variants.items():
        start = time.perf_counter()
        model = train(variant, dataset, epochs)
        seconds = time.perf_counter() - start
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(state, folder / f"{name}.safetensors", {"epochs": f"{epochs}", "seconds": f"{seconds:.0f}"})
        print(f"{name}: {epochs} epochs in {seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="what make_dataset.py wrote")
    parser.add_argument("weights", type=pathlib.Path, help="folder for the checkpoints")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    train_both(collapse_variants(), given.dataset, given.weights, given.epochs)


if __name__ == "__main__":
    main()
