"""What `compare` finds, as records, and the images on which models differ most."""

import base64
import dataclasses
import io
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pydantic

from deepvit.metrics.distance import sqnr_db, squares
from deepvit.runtime.manifest import ParityStage, Precision
from deepvit.runtime.preprocess import FILES, DecodePolicy, decode_rgb
from deepvit.runtime.tensors import Logits

from ..evaluate.result import Corrupt

WORST = 8  # images kept of each model
THUMBNAIL = 96  # pixels, the longer side


class WorstImage(pydantic.BaseModel):
    """One image, what both models say, and how far apart they are; probabilities in percent."""

    name: str
    sqnr_db: float | None
    max_abs: float
    reference_class: int
    reference_probability: float
    model_class: int
    model_probability: float
    thumbnail: str  # JPEG, base64


class ComparedModel(pydantic.BaseModel):
    """The ladder of one model; `breaches` is empty where it holds."""

    model: str
    runs_on: str
    precision: Precision | None
    random_weights: bool
    input_max_abs: float | None  # between its input and the reference's; None where they are not comparable
    stages: list[ParityStage]
    non_finite: int
    breaches: list[str]
    worst: list[WorstImage]


class Comparison(pydantic.BaseModel):
    """What `compare` found."""

    kind: Literal["comparison"] = "comparison"
    reference: str
    dataset: str
    list_sha256: str
    listed: int
    compared: int
    corrupt: list[Corrupt]
    models: list[ComparedModel]


def thumbnail(encoded: bytes, policy: DecodePolicy = FILES) -> bytes:
    """Return an image file as a small JPEG."""
    image = decode_rgb(encoded, policy)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
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
            reference_probability=100 * float(theirs.max()),
            model_class=int(ours.argmax()),
            model_probability=100 * float(ours.max()),
            thumbnail=base64.b64encode(thumbnails[place]).decode(),
        )


def _probabilities(
    logits: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    exponents = np.exp(logits - logits.max())
    return np.asarray(exponents / exponents.sum())


@dataclasses.dataclass(frozen=True)
class LayerDistance:
    """How far one block's output is from its reference; `sqnr_db` is infinite where nothing differs."""

    layer: str
    sqnr_db: float

    def as_dict(self) -> dict[str, str | float | None]:
        """As JSON has it, which knows no infinity."""
        return {"layer": self.layer, "sqnr_db": self.sqnr_db if np.isfinite(self.sqnr_db) else None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerReport:
    """SQNR at every block against float32: of the graph, and of an engine where one was run."""

    precision: Precision
    images: int
    graph: list[LayerDistance]
    engine: list[LayerDistance] | None

    def to_json(self) -> str:
        rows = None if self.engine is None else [layer.as_dict() for layer in self.engine]
        graph = [layer.as_dict() for layer in self.graph]
        fall = steepest_fall(self.graph)
        steepest = None if fall is None else {"layer": fall[0].layer, "fall_db": fall[1]}
        record = {"precision": self.precision.value, "images": self.images, "graph": graph, "engine": rows}
        return json.dumps(record | {"steepest_fall": steepest}, indent=2)


def steepest_fall(layers: list[LayerDistance]) -> tuple[LayerDistance, float] | None:
    """Return the layer before which the SQNR fell most, and by how many dB; None where it falls nowhere."""
    falls = [
        (after, before.sqnr_db - after.sqnr_db)
        for before, after in itertools.pairwise(layers)
        if np.isfinite(before.sqnr_db) and np.isfinite(after.sqnr_db)
    ]
    worst = max(falls, key=lambda fall: fall[1], default=None)
    return worst if worst is not None and worst[1] > 0 else None
