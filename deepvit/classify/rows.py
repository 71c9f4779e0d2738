"""What is known of each image: logits → classes and probabilities, as arrays of a block and as rows to be written."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepvit.images.blocks import Block
from deepvit.runtime.session.tensors import Logits

from .sources.entry import Entry

NOT_FINITE = "the logits are not finite; the precision overflows: export with ‹bf16› or ‹fp32›"
LABELS, PROBABILITIES, LOGITS, ERRORS = "labels", "probabilities", "logits", "errors"
Record = Mapping[str, npt.NDArray[np.generic]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guess:
    """A class: its index, its name, and its probability by softmax, float32."""

    label: int
    name: str
    probability: float

    @property
    def content(self) -> dict[str, Any]:
        """As it is written."""
        return {"class": self.label, "name": self.name, "probability": self.probability}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """An image and its most probable classes, the first of them first; or why there are none.

    Attributes:
        path: What it is called; see `Entry.name`.
        top: Empty where there is an error.
        error: What is wrong with the image; None where nothing is.
        logits: (classes,) float32, where they were asked for.
    """

    path: str
    top: tuple[Guess, ...] = ()
    error: str | None = None
    logits: Logits | None = None

    @property
    def label(self) -> int | None:
        """The most probable class."""
        return self.top[0].label if self.top else None

    @property
    def name(self) -> str | None:
        """Its name."""
        return self.top[0].name if self.top else None

    @property
    def probability(self) -> float | None:
        return self.top[0].probability if self.top else None

    def content(self, *, with_logits: bool) -> dict[str, Any]:
        """Return it as it is written, the same keys in every row."""
        content: dict[str, Any] = {"path": self.path, "class": self.label, "name": self.name}
        content |= {"probability": self.probability, "top": [guess.content for guess in self.top], "error": self.error}
        if with_logits:
            content["logits"] = None if self.logits is None else [_shortest(value) for value in self.logits]
        return content


def record_of(block: Block, images: int, logits: Logits | None, top: int, *, with_logits: bool) -> Record:
    """Return what is kept of a block of so many images.

    Args:
        block: Its usable images, their places counted within the block.
        images: How many it has, usable or not.
        logits: (n, classes) of the usable ones; None where there are none.
        top: How many classes of each.
        with_logits: Whether they are kept themselves.

    Returns:
        labels (images, top) int32, −1 where there is an error; probabilities (images, top) float32; the errors by place
        as JSON; and the logits (images, classes) float32.
    """
    errors = dict(block.errors)
    labels = np.full((images, top), -1, np.int32)
    probabilities = np.zeros((images, top), np.float32)
    kept = {}
    if logits is not None:
        finite = np.isfinite(logits).all(axis=1)
        errors |= dict.fromkeys(block.indices[~finite].tolist(), NOT_FINITE)
        places = block.indices[finite]
        labels[places], probabilities[places] = _most_probable(logits[finite], top)
        if with_logits:
            kept[LOGITS] = np.zeros((images, logits.shape[1]), np.float32)
            kept[LOGITS][places] = logits[finite]
    text = json.dumps({str(place): errors[place] for place in sorted(errors)})
    return {LABELS: labels, PROBABILITIES: probabilities, ERRORS: np.frombuffer(text.encode(), np.uint8), **kept}


def _most_probable(logits: Logits, top: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Return the `top` largest classes (n, top), equal ones by number as argmax has it, and their softmax."""
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    wide = logits.astype(np.float64)
    shares = np.exp(wide - wide.max(axis=1, keepdims=True, initial=-np.inf))
    shares /= shares.sum(axis=1, keepdims=True)
    return order.astype(np.int32), np.take_along_axis(shares, order, axis=1).astype(np.float32)


def rows_of(entries: Sequence[Entry], record: Record, class_names: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a block from what is kept of it."""
    errors = json.loads(record[ERRORS].tobytes())
    labels, probabilities, logits = record[LABELS], record[PROBABILITIES], record.get(LOGITS)
    for place, entry in enumerate(entries):
        if (error := errors.get(str(place))) is not None:
            yield Row(path=entry.name, error=error)
            continue
        top = tuple(
            Guess(label=int(label), name=class_names[int(label)], probability=_shortest(probability))
            for label, probability in zip(labels[place], probabilities[place], strict=True)
        )
        yield Row(path=entry.name, top=top, logits=None if logits is None else logits[place])


def _shortest(value: np.generic) -> float:
    """Return the number of fewest digits that is this float32."""
    return float(str(value))
