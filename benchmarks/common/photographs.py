"""Images of ImageNet's usual size, and a model that takes no time for them."""

import pathlib

import numpy as np
from PIL import Image

from deepvit.images.samples import SAMPLES
from deepvit.runtime.artifact.manifest import BatchRange, Tensor
from deepvit.runtime.preprocess import Preprocessing
from deepvit.runtime.session.tensors import Images, Logits

PREPROCESSING = Preprocessing(
    resize=248, crop=224, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, layout="NCHW"
)
SIZE = (500, 375)  # width, height


class InstantSession:
    """Logits that are there already."""

    input = Tensor(name="images", shape=("batch", 3, 224, 224), dtype="float32")
    batch = BatchRange(min=1, opt=32, max=64)
    classes = 1000
    description = "no model"
    identity = None
    class_names = None
    is_emulated = False

    def __init__(self) -> None:
        self._logits = np.random.default_rng(0).standard_normal((64, self.classes), np.float32)

    def run(self, images: Images) -> Logits:
        return self._logits[: len(images)]

    def close(self) -> None:
        """Nothing is held."""


def write_photographs(folder: pathlib.Path, count: int) -> list[str]:
    """Write `count` JPEGs made of the bundled photographs, and return their names."""
    photographs = sorted(SAMPLES.glob("*.jpg"))
    names = [f"{index:05d}.jpg" for index in range(count)]
    for index, name in enumerate(names):
        with Image.open(photographs[index % len(photographs)]) as image:
            image.convert("RGB").resize(SIZE).save(folder / name, quality=90)
    return names
