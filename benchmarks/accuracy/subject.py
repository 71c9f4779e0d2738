"""A trained model, its held-out images, decoded once, and what PyTorch answers in float32."""

import contextlib
import dataclasses
import functools
import pathlib
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import onnx

from deepvit.export.graph.onnx_file import to_bytes
from deepvit.export.graph.proof.apart import run_apart
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.images import decode
from deepvit.images.blocks import decoded_blocks
from deepvit.images.imagenet import open_dataset
from deepvit.images.sources import ImageSource, list_sha256, spread
from deepvit.measure.evaluate.scores import Scores, image_records
from deepvit.measure.torch_session import TorchSession
from deepvit.metrics.paired import proportion_interval
from deepvit.model.load import LoadedModel
from deepvit.progress import Advance
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.session import OnnxRuntimeSession
from deepvit.runtime.preprocess import model_input
from deepvit.runtime.session import Session
from deepvit.runtime.session.tensors import Images, Logits

BATCH = 50
REFERENCE = "PyTorch"
START = time.monotonic()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, the folder of its dataset, and its held-out images (N, 3, H, W) with labels (N,).

    `logits` (N, classes) and `scores` are PyTorch's in float32, which all else is held against.
    """

    loaded: LoadedModel
    dataset: str
    source: ImageSource
    images: Images
    labels: npt.NDArray[np.int64]
    logits: Logits
    scores: Scores

    @property
    def name(self) -> str:
        return self.loaded.variant.name

    def described(self) -> dict[str, Any]:
        """Return what the figures are of, without a path of this machine."""
        interval = proportion_interval(int(self.scores.is_right.sum()), self.scores.images)
        return {
            "model": self.name,
            "weights_sha256": self.loaded.weights.sha256,
            "dataset": f"data/{pathlib.Path(self.dataset).name}",
            "images": len(self.labels),
            "list_sha256": list_sha256(self.source),
            "pytorch": {"top1": self.scores.top1(), "top1_interval": interval.model_dump(), "top5": self.scores.top5()},
        }


def subject_of(loaded: LoadedModel, dataset: str, limit: int | None = None) -> Subject:
    """Decode the held-out images, at most `limit` from all over them, and run them through PyTorch."""
    preprocessing, classes = loaded.preprocessing(), loaded.module.num_classes
    source = spread(open_dataset(dataset, classes, "val"), limit)
    say(f"decoding {len(source)} images")
    (block,) = decoded_blocks(source, [preprocessing], [0], len(source), workers=0)
    images = model_input(block.crops[0], preprocessing, loaded.module.in_chans)
    say(f"{loaded.variant.name} in PyTorch")
    session = TorchSession(loaded.module, (loaded.module.in_chans, loaded.module.img_size, loaded.module.img_size))
    logits = logits_of(session, images)
    return Subject(
        loaded=loaded,
        dataset=dataset,
        source=source,
        images=images,
        labels=block.labels,
        logits=logits,
        scores=Scores(image_records(logits, None), block.labels, classes),
    )


def logits_of(session: Session, images: Images) -> Logits:
    """Run images in batches, each on one core where the session was opened for one thread, and close the session."""
    parts = (images[first : first + BATCH] for first in range(0, len(images), BATCH))
    with contextlib.closing(session):
        return np.concatenate(run_apart(functools.partial(session.run, part) for part in parts))


def onnxruntime_logits(model: onnx.ModelProto, images: Images, arithmetic: Arithmetic) -> tuple[Logits, str]:
    """Return what ONNX Runtime answers, and its description."""
    session = OnnxRuntimeSession(to_bytes(model), name="the graph", arithmetic=arithmetic, threads=1)
    description = session.description
    return logits_of(session, images), description


def scored(subject: Subject, logits: Logits) -> dict[str, Any]:
    """Return top-1 with its interval, and how it compares with PyTorch's, image by image, as `eval` does."""
    scores = Scores(image_records(logits, subject.logits), subject.labels, logits.shape[1])
    right = int(scores.is_right.sum())
    return {
        "top1": scores.top1(),
        "top1_interval": proportion_interval(right, scores.images).model_dump(),
        **scores.agreement_with(subject.scores, REFERENCE).model_dump(exclude={"top1"}),  # which is PyTorch's
    }


def export_options(graph: GraphOptions, dataset: str | None) -> ExportOptions:
    """Return the options of an export that writes nothing."""
    return ExportOptions(graph=graph, output=pathlib.Path(), imagenet=dataset)


INT8 = GraphOptions(precision=Precision.INT8, target=Target.ONNX)


def say(text: str) -> Advance:
    """Print what begins, and when; it is a `Progress` too."""
    print(f"{time.monotonic() - START:6.0f} s  {text}", flush=True)
    return lambda _done, _total: None


@contextlib.contextmanager
def decoded_here() -> Iterator[None]:
    """Decode in this process: of such small images, processes take longer to start than all of them to decode."""
    with mock.patch.object(decode, "MIN_IMAGES_FOR_WORKERS", np.inf):
        yield
