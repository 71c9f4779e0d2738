"""Lay out scikit-learn's handwritten digits as an ImageNet folder: python make_dataset.py DIR.

1,797 images of 8×8 pixels (Alpaydin and Kaynak, UCI, CC BY 4.0), enlarged to 56×56, every third of a class in val/.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 56
HELD_OUT_EVERY = 3


def write_dataset(root: pathlib.Path) -> dict[str, int]:
    """Write train/<digit>/*.JPEG and val/<digit>/*.JPEG below `root`; return how many images each split has."""
    digits = load_digits()
    counts = {"train": 0, "val": 0}
    seen = [0] * 10
    for index, (values, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        split = "val" if seen[label] % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 else "train"
        seen[label] += 1
        counts[split] += 1
        pixels = Image.fromarray(np.round(values * (255 / 16)).astype(np.uint8))
        folder = root / split / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        enlarged = pixels.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")
        enlarged.save(folder / f"digit_{index:04}.JPEG", format="JPEG", quality=95)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=pathlib.Path, help="folder to write train/ and val/ into")
    counts = write_dataset(parser.parse_args().root)
    print(f"{counts['train']} training and {counts['val']} held-out images")


if __name__ == "__main__":
    main()
