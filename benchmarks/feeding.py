"""How fast models are fed, by 500×375 JPEGs made of the bundled photographs.

python benchmarks/feeding.py [--images N]: an evaluation, and a model that takes no time, with one and two decoding
processes and from kept crops; writes benchmarks/results/feeding.json.

python benchmarks/feeding.py --classify ARTIFACT [--images N]: a classification by one and two processes and by one and
two actors of Ray, each with a model that takes no time and with that of the artifact; what is timed begins when the
first block is there, so that neither Ray's start nor the models' counts; writes benchmarks/results/classifying.json.
"""

import argparse
import contextlib
import dataclasses
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from benchmarks.common.interleaved import machine, write_result
from deepvit.classify.classifier import Classifier, ImageBlockDecoder, as_served, blocks_of
from deepvit.classify.processes import records_of_processes
from deepvit.classify.sources.listing import Listing
from deepvit.images.samples import SAMPLES
from deepvit.images.sources import FolderSource
from deepvit.measure.evaluate.cluster import LOCAL, ClusterJob, records_of_cluster
from deepvit.measure.evaluate.evaluator import Evaluator
from deepvit.measure.evaluate.options import EvaluationOptions, Shards
from deepvit.measure.models import Contestant, OpenedModel
from deepvit.measure.options import SessionOptions
from deepvit.runtime.manifest import BatchRange, Tensor
from deepvit.runtime.preprocess import FILES, Preprocessing
from deepvit.runtime.session.tensors import Images, Logits

PREPROCESSING = Preprocessing(
    resize=248, crop=224, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, layout="NCHW"
)
ROUNDS = 5
BLOCK = 32  # images, as many as classify runs at once unless it is told otherwise


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


@dataclasses.dataclass(frozen=True)
class Opener:
    """Opens the model of an artifact, or one that takes no time, in whichever process, which shares the cores."""

    artifact: str | None
    share: int = 1

    @contextlib.contextmanager
    def __call__(self, share: int | None = None) -> Iterator[Classifier]:
        model: str | OpenedModel = self.artifact or OpenedModel(
            name="none", session=InstantSession(), preprocessing=PREPROCESSING, file_sha256="none"
        )
        sessions = as_served(SessionOptions()).sharing(share or self.share)
        with contextlib.closing(Classifier(model, sessions=sessions)) as classifier:
            yield classifier


def seconds_an_image(found: Iterable[object], images: int) -> float:
    """Return the time of an image, counted from when the first block is there."""
    remaining = iter(found)
    next(remaining)
    start = time.perf_counter()
    for _ in remaining:
        pass
    return (time.perf_counter() - start) / (images - BLOCK)


def classified_per_second(listing: Listing, artifact: str | None, form: str, count: int) -> float:
    """Return the rate of so many processes or actors."""
    blocks, opener = blocks_of(listing, BLOCK), Opener(artifact, count)
    if form == "processes":
        found: Iterable[object] = records_of_processes(opener, Shards(processes=count), blocks, 0)
        return 1 / seconds_an_image(found, listing.images)
    with opener() as classifier:
        decode = ImageBlockDecoder(classifier.model.preprocessing, FILES)
    job = ClusterJob(decode=decode, opener=opener, place=None)
    with contextlib.closing(records_of_cluster(LOCAL, count, job, blocks)) as found:
        return 1 / seconds_an_image(found, listing.images)


def classify(artifact: str, images: int) -> None:
    """Time every form in turns, and write what was found."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as held:
        write_images(pathlib.Path(name), images)
        listing = held.enter_context(contextlib.closing(Listing([name])))
        cases = [(model, form, n) for model in (None, artifact) for form in ("processes", "actors") for n in (1, 2)]
        rates: dict[str, list[float]] = {_case(*case): [] for case in cases}
        for _ in range(ROUNDS):
            for model, form, count in cases:
                rates[_case(model, form, count)].append(classified_per_second(listing, model, form, count))
    for case, found in rates.items():
        print(f"{case:40s} {statistics.median(found):7.0f} images/s ({min(found):.0f} to {max(found):.0f})")
    command = f"python benchmarks/feeding.py --classify {artifact} --images {images}"
    content = {"command": command, "images": images, "machine": machine(), "images_per_second": rates}
    write_result("classifying", content)


def _case(model: str | None, form: str, count: int) -> str:
    return f"{count} {form}, {'no model' if model is None else pathlib.Path(model).name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--classify", metavar="ARTIFACT")
    arguments = parser.parse_args()
    if arguments.classify is not None:
        classify(arguments.classify, arguments.images)
        return
    count = arguments.images
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
