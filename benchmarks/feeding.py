"""How fast an evaluation feeds a model that takes no time: with one and two decoding processes, and from kept crops.

The images are 500×375 JPEGs made of the bundled photographs. Usage: python benchmarks/feeding.py [--images N]; writes
benchmarks/results/feeding.json.
"""

import argparse
import pathlib
import statistics
import tempfile

import numpy as np
from PIL import Image

from benchmarks.common.interleaved import machine, write_result
from deepvit.images.samples import SAMPLES
from deepvit.images.sources import FolderSource
from deepvit.measure.evaluate.evaluator import Evaluator
from deepvit.measure.evaluate.options import EvaluationOptions
from deepvit.measure.models import Contestant
from deepvit.runtime.manifest import BatchRange, Tensor
from deepvit.runtime.preprocess import Preprocessing
from deepvit.runtime.session.tensors import Images, Logits

PREPROCESSING = Preprocessing(
    resize=248, crop=224, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, layout="NCHW"
)
ROUNDS = 5


class InstantSession:
    """Logits that are there already."""

    input = Tensor(name="images", shape=("batch", 3, 224, 224), dtype="float32")
    batch = BatchRange(min=1, opt=32, max=64)
    classes = 1000
    description = "no model"
    is_emulated = False

    def __init__(self) -> None:
        self._logits = np.random.default_rng(0).standard_normal((64, self.classes), np.float32)

    def run(self, images: Images) -> Logits:
        return self._logits[: len(images)]

    def close(self) -> None:
        """Nothing is held."""


def write_images(folder: pathlib.Path, count: int) -> FolderSource:
    """Write `count` JPEGs of the usual size of ImageNet's, and return them as a labelled source."""
    photographs = sorted(SAMPLES.glob("*.jpg"))
    for index in range(count):
        with Image.open(photographs[index % len(photographs)]) as image:
            image.convert("RGB").resize((500, 375)).save(folder / f"{index:05d}.jpg", quality=90)
    return FolderSource(folder, tuple((f"{index:05d}.jpg", 0) for index in range(count)))


def images_per_second(source: FolderSource, **options: object) -> float:
    """Evaluate and return the rate, decoding, normalisation, scores and journal included."""
    contestant = Contestant(name="none", session=InstantSession(), preprocessing=PREPROCESSING, identity="none")
    evaluator = Evaluator([contestant], source, EvaluationOptions(**options))  # type: ignore[arg-type]
    evaluator.run(evaluator.missing())
    rate = evaluator.results("").images_per_second_with_decoding
    evaluator.close()
    assert rate is not None
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=6000)
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        source = write_images(folder, count)
        images_per_second(source, crops=folder / "crops", workers=2)  # keeps them
        forms = {
            "one decoding process": {"workers": 1},
            "two decoding processes": {"workers": 2},
            "kept crops": {"crops": folder / "crops", "workers": 2},
        }
        rates: dict[str, list[float]] = {form: [] for form in forms}
        for _ in range(ROUNDS):
            for form, options in forms.items():
                rates[form].append(images_per_second(source, **options))
    ratios = [two / one for one, two in zip(*list(rates.values())[:2], strict=True)]
    for form, found in rates.items():
        print(f"{form:24s} {statistics.median(found):7.0f} images/s ({min(found):.0f} to {max(found):.0f})")
    print(f"two against one          {statistics.median(ratios):7.2f}× ({min(ratios):.2f} to {max(ratios):.2f})")
    content = {
        "command": f"python benchmarks/feeding.py --images {count}",
        "images": count,
        "machine": machine(),
        "images_per_second": rates,
        "two_against_one": ratios,
    }
    write_result("feeding", content)


if __name__ == "__main__":
    main()
