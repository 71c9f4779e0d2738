"""What `compare` finds, as records, and the images on which models differ most."""

import base64
import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from PIL import Image

from deepvit.metrics.distance import sqnr_db, squares
from deepvit.metrics.result import Fraction, Record, Result
from deepvit.runtime.artifact.manifest import Interval, ParityStage, Precision
from deepvit.runtime.preprocess import Crop
from deepvit.runtime.session.tensors import Logits

from ..evaluate.result import Corrupt

WORST = 8  # images kept of each model
THUMBNAIL = 96  # pixels, the longer side


class WorstImage(Record):
    """One image, what both models say, and how far apart they are; probabilities from 0 to 1."""

    name: str
    sqnr_db: float | None
    max_abs: float
    reference_class: int
    reference_probability: Fraction
    model_class: int
    model_probability: Fraction
    thumbnail: str  # of the crop that the model saw: JPEG, base64


Judged = Literal["max abs", "SQNR", "agreement"]


class ComparedModel(Record):
    """The ladder of one model.

    Attributes:
        stages: The rungs; the last one is the model itself, its engine where there is one.
        agreement_intervals: Of each stage's top1_agreement, 95%.
        judged: What of the last stage has a bound; what has none is told, and neither holds nor not.
        breaches: What does not hold; empty where all that is judged holds.
    """

    model: str
    runs_on: str
    emulated: bool  # arithmetic that rounds every tensor as declared
    precision: Precision | None
    random_weights: bool
    input_max_abs: float | None  # between its input and the reference's; None where they are not comparable
    stages: list[ParityStage]
    agreement_intervals: list[Interval]
    judged: list[Judged]
    non_finite: int
    breaches: list[str]
    worst: list[WorstImage]


class Comparison(Result):
    """What `compare` found."""

    kind: Literal["comparison"] = "comparison"
    reference: str
    dataset: str
    list_sha256: str
    listed: int
    compared: int
    corrupt: list[Corrupt]
    class_names: tuple[str, ...] = ()  # by label; those that a model brings, else ImageNet's, else numbers
    models: list[ComparedModel]


def thumbnail(crop: Crop) -> bytes:
    """Return what a model saw of an image, (H, W, 3) uint8, as a small JPEG."""
    image = Image.fromarray(crop)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def worst_images(
    names: Sequence[str], thumbnails: Sequence[bytes], logits: Logits, expected: Logits
) -> Iterator[WorstImage]:
    """Yield the images whose logits (N, classes) lie furthest apart: first those whose class changed, then by SQNR."""
    wide = expected.astype(np.float64)
    difference = logits.astype(np.float64) - wide
    signal, noise = squares(logits, wide, axis=1)
    flipped = logits.argmax(axis=1) != expected.argmax(axis=1)
    ratio = np.where(noise > 0, signal / np.where(noise > 0, noise, 1), np.inf)
    for place in np.lexsort((np.arange(len(ratio)), ratio, ~flipped))[:WORST].tolist():
        if noise[place] == 0 or not np.isfinite(noise[place]):
            continue
        theirs, ours = _probabilities(wide[place]), _probabilities(logits[place].astype(np.float64))
        yield WorstImage(
            name=names[place],
            sqnr_db=sqnr_db(float(signal[place]), float(noise[place])),
            max_abs=float(np.abs(difference[place]).max()),
            reference_class=int(theirs.argmax()),
            reference_probability=float(theirs.max()),
            model_class=int(ours.argmax()),
            model_probability=float(ours.max()),
            thumbnail=base64.b64encode(thumbnails[place]).decode(),
        )


def _probabilities(
    logits: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    exponents = np.exp(logits - logits.max())
    return np.asarray(exponents / exponents.sum())


class LayerDistance(Record):
    """How far one block's output is from its reference."""

    layer: str
    sqnr_db: float | None  # None: no difference at all


class Fall(Record):
    """The layer before which the SQNR falls most."""

    layer: str
    fall_db: float


class LayerReport(Result):
    """SQNR at every block against float32: of the graph, and of an engine where one was run."""

    kind: Literal["layers"] = "layers"
    artifact: str
    precision: Precision
    random_weights: bool
    images: int
    graph: list[LayerDistance]
    engine: list[LayerDistance] | None
    steepest_fall: Fall | None  # of the graph's; None where it falls nowhere


def steepest_fall(layers: Sequence[LayerDistance]) -> Fall | None:
    """Return the layer before which the SQNR fell most, and by how many dB; None where it falls nowhere."""
    falls = [
        Fall(layer=after.layer, fall_db=before.sqnr_db - after.sqnr_db)
        for before, after in itertools.pairwise(layers)
        if before.sqnr_db is not None and after.sqnr_db is not None
    ]
    worst = max(falls, key=lambda fall: fall.fall_db, default=None)
    return worst if worst is not None and worst.fall_db > 0 else None
