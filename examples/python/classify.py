"""Classify image files with an artifact: python examples/python/classify.py ARTIFACT IMAGE …

Needs `pip install '.[cpu]'`, no PyTorch.
"""

import pathlib
import sys

import numpy as np

from deepvit.runtime import crop_image, open_artifact, open_session


def main(folder: str, *images: str) -> None:
    artifact = open_artifact(pathlib.Path(folder))
    session = open_session(artifact.folder)  # verified: files by their hashes, answers on the golden image
    names = artifact.manifest.class_names or list(map(str, range(artifact.manifest.classes)))
    for image in images:
        crop = crop_image(pathlib.Path(image), artifact.manifest.preprocess)  # (H, W, 3) uint8
        logits = session.run(artifact.manifest.input_from(crop[None]))[0].astype(np.float64)
        shares = np.exp(logits - logits.max())
        best = int(shares.argmax())
        print(f"{image}: {names[best]}, {shares[best] / shares.sum():.1%}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
