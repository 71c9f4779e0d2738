"""How fast `classify` is by processes and by actors of Ray, from 500×375 JPEGs made of the bundled photographs.

Usage: python benchmarks/classifying.py ARTIFACT [--images N]: one process and two, one actor and two, each with a model
that takes no time and with that of the artifact, which gets a quarter of the images. What is timed lies between the
first blocks and the last: neither a start counts nor what was decoded ahead. Writes benchmarks/results/classifying.json.
"""

import argparse
import contextlib
import dataclasses
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator

import ray

from benchmarks.common.interleaved import machine, write_result
from benchmarks.common.photographs import PREPROCESSING, InstantSession, write_photographs
from deepvit.classify.classifier import Classifier, ImageBlockDecoder, as_served, blocks_of
from deepvit.classify.processes import records_of_processes
from deepvit.classify.sources.listing import Listing
from deepvit.measure.evaluate.cluster import LOCAL, ClusterJob, records_of_cluster
from deepvit.measure.evaluate.options import Shards
from deepvit.measure.models import OpenedModel
from deepvit.measure.options import SessionOptions
from deepvit.runtime.preprocess import FILES

ROUNDS = 3
BLOCK = 32  # images, as many as classify runs at once unless it is told otherwise
ENDS = 8  # blocks that are not timed, first and last: more than are under way at once
MODEL_SHARE = 4  # of how many images one is run by a model that takes its time
NO_MODEL = "no model"


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


@dataclasses.dataclass(frozen=True)
class Case:
    """What is timed."""

    artifact: str | None
    form: str  # "process" or "actor"
    count: int

    def __str__(self) -> str:
        model = NO_MODEL if self.artifact is None else pathlib.Path(self.artifact).name
        return f"{self.count} {self.form}{'' if self.count == 1 else 'es' if self.form == 'process' else 's'}, {model}"

    def images_per_second(self, folder: pathlib.Path, images: int) -> float:
        """Classify so many images of a folder, and return the rate."""
        names = sorted(map(str, folder.glob("*.jpg")))[:images]
        opener = Opener(self.artifact, self.count)
        with contextlib.closing(Listing(names)) as listing:
            blocks = blocks_of(listing, BLOCK)
            if self.form == "process":
                found = records_of_processes(opener, Shards(processes=self.count), blocks, 0)
                return rate_of(found)
            with opener() as classifier:
                decode = ImageBlockDecoder(classifier.model.preprocessing, FILES)
            job = ClusterJob(decode=decode, opener=opener, place=None)
            with contextlib.closing(records_of_cluster(LOCAL, self.count, job, blocks)) as found:
                return rate_of(found)


def rate_of(found: Iterable[object]) -> float:
    """Return the images/s of what comes, whole blocks one by one, but for the first and the last."""
    times = [time.perf_counter() for _ in found][ENDS:-ENDS]
    return BLOCK * (len(times) - 1) / (times[-1] - times[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact")
    parser.add_argument("--images", type=int, default=3200)
    given = parser.parse_args()
    cases = [Case(model, form, n) for model in (None, given.artifact) for form in ("process", "actor") for n in (1, 2)]
    rates: dict[str, list[float]] = {str(case): [] for case in cases}
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")  # once: it takes several seconds
    with tempfile.TemporaryDirectory() as name:
        write_photographs(pathlib.Path(name), given.images)
        for _ in range(ROUNDS):
            for case in cases:
                images = given.images if case.artifact is None else given.images // MODEL_SHARE
                rates[str(case)].append(case.images_per_second(pathlib.Path(name), images))
    ray.shutdown()
    for title, found in rates.items():
        print(f"{title:40s} {statistics.median(found):7.1f} images/s ({min(found):.1f} to {max(found):.1f})")
    command = f"python benchmarks/classifying.py {given.artifact} --images {given.images}"
    content = {"command": command, "images": given.images, "machine": machine(), "images_per_second": rates}
    write_result("classifying", content)


if __name__ == "__main__":
    main()
