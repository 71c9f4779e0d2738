"""Images whose red value is their class, a model that sees it, and a classification of them; also run as a program to be killed."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import sys

from PIL import Image

from deepvit.classify import request as requests
from deepvit.classify.classifier import Classifier
from deepvit.classify.options import Answer, ClassificationRequest
from deepvit.classify.sources.listing import Listing
from deepvit.measure.models import OpenedModel
from tests.doubles.evaluation_stub import CLASSES, TINY, RedSession

SECONDS = 60  # that a process waits for another


def red_model(**session):
    return OpenedModel(name="m", session=RedSession(**session), preprocessing=TINY, file_sha256="0" * 64)


def red_classifier(answer=None, **session):
    return Classifier(red_model(**session), answer=answer or Answer(top=3))


def red_image(path, red, green=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 6), (red, green, 0)).save(path)


def red_folder(folder, images):
    """So many images, in three folders; the expected class of each by its path, in order."""
    for number in range(images):
        red_image(folder / f"{number % 3}" / f"{number:03}.png", number % CLASSES)
    return {str(path): int(path.stem) % CLASSES for path in sorted(folder.rglob("*.png"))}


def red_job(folder, **options):
    """A job of the folder's images that needs no artifact."""
    request = ClassificationRequest(**{"model": "m", "images": (str(folder),), "batch_size": 4, "workers": 0} | options)
    listing = Listing(request.images, request.column, request.limit)
    return requests.Job(request=request, classifier=red_classifier(request.answer), listing=listing)


@contextlib.contextmanager
def open_red(pause=0.0):
    yield red_classifier(pause=pause)


class Dying:
    """What is killed where it is opened, or where it has taken a block."""

    def __init__(self, with_block=False):
        self.with_block = with_block

    @contextlib.contextmanager
    def __call__(self):
        if not self.with_block:
            os.kill(os.getpid(), signal.SIGKILL)
        yield self

    def records(self, blocks, _workers):
        yield next(iter(blocks)), os.kill(os.getpid(), signal.SIGKILL)


class Unequal:
    """A process that is slow, and one that is not: its first block lasts until the other has run what there is.

    What is kept of a block is which process had it.
    """

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self.met, self.other_is_done = context.Barrier(2, timeout=SECONDS), context.Event()

    @contextlib.contextmanager
    def __call__(self):
        yield self

    def records(self, blocks, _workers):
        for place, block in enumerate(blocks):
            if place == 0 and self.met.wait() == 0:
                self.other_is_done.wait(SECONDS)
            yield block, os.getpid()
        self.met.abort()  # where the other has no block to meet with, nothing was shared
        self.other_is_done.set()


def written(job, progress=lambda *_: None):
    """What is written of a job, as text."""
    with contextlib.closing(job), requests.classified(job, progress) as found:
        return [json.dumps(row.content(with_logits=job.request.answer.logits)) for row in found.rows()]


def main(folder, pause):
    """Classify block by block, telling each that is done."""
    job = red_job(folder)
    job = dataclasses.replace(job, classifier=red_classifier(job.request.answer, pause=float(pause)))
    written(job, lambda done, _total: print(done, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
