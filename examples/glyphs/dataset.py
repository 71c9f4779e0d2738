"""The pictures that are kept: of each class ten in the held-out faces, and eight in the others to calibrate on.

python -m examples.glyphs.dataset FONTS FOLDER writes them as an ImageNet folder, FOLDER/val/n00019968/n00019968_0.JPEG.
"""

import argparse
import hashlib
import pathlib
import sys

import numpy as np
import PIL
from PIL import Image

from .characters import characters, synset
from .distort import distort
from .draw import draw_masters
from .faces import HELD_OUT, TRAINED

HELD_OUT_EACH = 10
TRAINED_EACH = 8
SEEDS = {"val": 1, "train": 2}
QUALITY = 95
SHA256 = {  # of all the files of a split, one after the other, by Pillow 13.0.0 wherever it ran
    "val": "5026933d7a82a11dbd50aeb86da985d51c20bcdbd30bc5a3309daee8ffd72bbd",
    "train": "d887881625d19a2baa67cb93e6e5da1c0e78d1974999c3489cbf99dbb1e62efa",
}


def pictures_of(split: str, masters: np.ndarray, label: int, count: int) -> np.ndarray:
    """Return the pictures of a class, (count, 48, 48, 3) uint8, its faces in turn; the first do not depend on `count`.

    `masters` are (faces, characters, 64, 64) uint8 of the split's faces.
    """
    rngs = [np.random.default_rng((SEEDS[split], label, number)) for number in range(count)]
    faces = [(label + number) % len(masters) for number in range(count)]
    return np.concatenate([distort(masters[face, label, None], rng) for face, rng in zip(faces, rngs, strict=True)])


def held_out_pictures(masters: np.ndarray, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `each` held-out pictures of every class, (N, 48, 48, 3) uint8, and their labels (N,)."""
    labels = range(masters.shape[1])
    return np.concatenate([pictures_of("val", masters, label, each) for label in labels]), np.repeat(labels, each)


def write_split(folder: pathlib.Path, split: str, masters: np.ndarray, each: int, text: tuple[str, ...]) -> str:
    """Write `each` pictures of every class below `folder`/split; return the SHA-256 of all the files."""
    digest = hashlib.sha256()
    for label, character in enumerate(text):
        place = folder / split / synset(character)
        place.mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(pictures_of(split, masters, label, each)):
            path = place / f"{place.name}_{number}.JPEG"
            Image.fromarray(picture).save(path, format="JPEG", quality=QUALITY)
            digest.update(path.read_bytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fonts", type=pathlib.Path, help="what fetch_fonts.sh unpacked")
    parser.add_argument("folder", type=pathlib.Path, help="to write train/ and val/ into")
    given = parser.parse_args()
    text = characters()
    for split, faces, each in (("train", TRAINED, TRAINED_EACH), ("val", HELD_OUT, HELD_OUT_EACH)):
        sha256 = write_split(given.folder, split, draw_masters(given.fonts, faces, text), each, text)
        print(f"{split}/: {each * len(text)} pictures of {len(text)} characters, SHA-256 {sha256}")
        if sha256 != SHA256[split]:
            sys.exit(f"error: expected {SHA256[split]}, as Pillow 13.0.0 writes them; this is {PIL.__version__}")


if __name__ == "__main__":
    main()
