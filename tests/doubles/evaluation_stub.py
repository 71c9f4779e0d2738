"""A model that needs no file, and evaluations of it that other processes can open; also run as a program to be killed."""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import time

import numpy as np

from deepvit.images.imagenet import open_dataset
from deepvit.measure.evaluate.evaluator import Evaluator
from deepvit.measure.evaluate.options import EvaluationOptions, Keeping
from deepvit.measure.evaluate.run_files import options_with_files
from deepvit.measure.models import Contestant
from deepvit.runtime.artifact.manifest import BatchRange, Tensor
from deepvit.runtime.preprocess import Preprocessing

TINY = Preprocessing(resize=4, crop=4, interpolation="nearest", mean=(0.0,) * 3, std=(1.0,) * 3, layout="NCHW")
SMALLER = TINY.model_copy(update={"crop": 2})
CLASSES = 10


def timeless(evaluation):
    """A result without what took how long."""
    times = {"duration_s": True, "images_per_second_with_decoding": True}
    return evaluation.model_dump(exclude=times | {"models": {"__all__": {"images_per_second"}}})


class OneByOne:
    """A session that lets nothing overlap."""

    def __init__(self, session):
        for name in ("input", "batch", "classes", "is_emulated", "identity", "class_names", "description", "run"):
            setattr(self, name, getattr(session, name))


class RedSession:
    """Logits from the red channel: the class is the red value, `shift` makes it wrong, green 1 makes it NaN."""

    batch = BatchRange(min=1, opt=8, max=8)
    description = "a stub"
    is_emulated = False
    classes = CLASSES

    def __init__(self, shift=0, side=4, pause=0.0, noise=0.0):
        self.shift, self.pause, self.noise, self.runs = shift, pause, noise, 0
        self.input = Tensor(name="images", shape=("batch", 3, side, side), dtype="float32")

    def run(self, images):
        from deepvit.runtime.session.tensors import check_logits

        self.runs += 1
        time.sleep(self.pause)
        red = np.round(images[:, 0, 0, 0] * 255).astype(int) + self.shift
        logits = 3 * np.eye(CLASSES, dtype=np.float32)[red % CLASSES]
        logits += np.float32(self.noise) * np.cos(np.arange(CLASSES, dtype=np.float32) + red[:, None])
        logits[np.round(images[:, 1, 0, 0] * 255) == 1] = np.nan
        return check_logits(logits.astype(np.float32), "m")

    def close(self):
        pass


def contestant(name="m", preprocessing=TINY, **session):
    made = RedSession(side=preprocessing.crop, **session)
    return Contestant(name=name, session=made, preprocessing=preprocessing, identity=f"{name} {session}")


@dataclasses.dataclass(frozen=True)
class StubOpener:
    """Opens the evaluation of two models and a reference."""

    dataset: str
    options: EvaluationOptions
    pause: float = 0.0

    def models(self):
        return [contestant("right", pause=self.pause, noise=0.1), contestant("wrong", shift=1)]

    def reference(self):
        return contestant("reference", SMALLER, noise=0.2)

    @contextlib.contextmanager
    def __call__(self):
        evaluator = Evaluator(self.models(), open_dataset(self.dataset, CLASSES), self.options, self.reference())
        yield evaluator
        evaluator.close()


@dataclasses.dataclass(frozen=True)
class TellingOpener(StubOpener):
    """Leaves in a file for each process which GPUs it may use, and how CUDA counts them."""

    processes: int = 2

    @contextlib.contextmanager
    def __call__(self):
        told = f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {os.environ.get('CUDA_DEVICE_ORDER')}"
        journal = self.options.journal
        journal.with_suffix(f".{os.getpid()}").write_text(told)
        while len(list(journal.parent.glob(f"{journal.stem}.[0-9]*"))) < self.processes:
            time.sleep(0.01)  # so that no process runs the others' part too
        with super().__call__() as evaluator:
            yield evaluator


@dataclasses.dataclass(frozen=True)
class FailingOpener(StubOpener):
    """Opens what fails, or is killed, in every process but the one that made it."""

    signal: int = 0

    @contextlib.contextmanager
    def __call__(self):
        if self.signal:
            os.kill(os.getpid(), self.signal)
        raise ValueError("cannot be opened here")
        yield


def main(dataset, output, pause, *flags):
    opener = StubOpener(dataset, EvaluationOptions(batch_size=3, workers=0), float(pause))
    source, keeping = open_dataset(dataset, CLASSES), Keeping(resume="--resume" in flags, crops="--crops" in flags)
    with options_with_files(opener.options, opener.models(), opener.reference(), source, keeping) as options:
        with dataclasses.replace(opener, options=options)() as evaluator:
            evaluator.run(evaluator.missing())
            results = timeless(evaluator.results("d"))
        pathlib.Path(output).write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
