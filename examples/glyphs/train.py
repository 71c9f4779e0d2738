"""Train a glyph network: python -m examples.glyphs.train NAME FONTS FOLDER; the same command goes on where it was.

NAME is glyphs_deepvit or glyphs_vit, of 12 blocks or `--depth`, FONTS what fetch_fonts.sh unpacked. FOLDER has a
checkpoint of every few minutes: killed at any time and begun again, the weights come out the same to the bit, on the
same machine with as many threads. In the end it has NAME.safetensors, in FP16.
"""

import argparse
import dataclasses
import hashlib
import pathlib
import time

import numpy as np
from safetensors.torch import save_file

from deepvit.runtime.files import replaced

from .dataset import HELD_OUT_EACH, held_out_pictures
from .draw import draw_masters
from .faces import HELD_OUT, TRAINED
from .recipe import Recipe
from .training import Training, accuracy
from .variants import NAMES, glyph_variant

QUICK = 2  # held-out pictures of a class that are scored on the way
SAVED_EVERY = 300  # seconds


def train(training: Training, checkpoint: pathlib.Path, held_out: np.ndarray, every: float = SAVED_EVERY) -> None:
    """Go on from `checkpoint`, where there is one, to the last step; save every so many seconds and say how it does.

    `held_out` are masters (faces, characters, 64, 64) uint8 of faces that are not trained on.
    """
    if checkpoint.is_file():
        training.resume(checkpoint)
        print(f"goes on at step {training.step}", flush=True)
    saved, first, losses = time.monotonic(), training.step, []
    while training.step < training.recipe.steps:
        losses.append(training.advance())
        seconds = time.monotonic() - saved
        if seconds < every and training.step < training.recipe.steps:
            continue
        top1 = accuracy(training.model, *held_out_pictures(held_out, QUICK))
        speed = (training.step - first) * training.recipe.batch / seconds
        print(
            f"step {training.step}/{training.recipe.steps}: loss {np.mean(losses):.3f}, held-out {top1:.2%}, "
            f"{speed:.0f} images/s",
            flush=True,
        )
        training.save(checkpoint)
        saved, first, losses = time.monotonic(), training.step, []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--depth", type=int, help="blocks, if not 12")
    parser.add_argument("fonts", type=pathlib.Path, help="what fetch_fonts.sh unpacked")
    parser.add_argument("folder", type=pathlib.Path, help="for the checkpoint and the weights")
    parser.add_argument("--device", default="cpu", help="of PyTorch: cpu, cuda")
    for field in dataclasses.fields(Recipe):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    given = vars(parser.parse_args())
    recipe = Recipe(**{field.name: given[field.name] for field in dataclasses.fields(Recipe)})
    folder: pathlib.Path = given["folder"]
    folder.mkdir(parents=True, exist_ok=True)
    masters = draw_masters(given["fonts"], TRAINED)
    held_out = draw_masters(given["fonts"], HELD_OUT)
    variant = glyph_variant(given["name"], given["depth"])
    training = Training(variant, recipe, masters, given["device"])
    train(training, folder / f"{variant.name}.pt", held_out)
    path = folder / f"{variant.name}.safetensors"
    with replaced(path) as staged:
        save_file(training.weights(), staged)
    top1 = accuracy(training.model, *held_out_pictures(held_out, HELD_OUT_EACH))
    print(f"{path.name}: {path.stat().st_size} bytes, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
    print(f"held-out top-1 of the float32 weights on all pictures: {top1:.2%}")


if __name__ == "__main__":
    main()
