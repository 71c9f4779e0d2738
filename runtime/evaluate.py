"""Accuracy on a labelled dataset, and agreement with a reference, in one pass over the images."""

import itertools
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pydantic

from runtime.decode import Decoded, decode_images
from runtime.errors import InputError
from runtime.imagenet import ImageSource, list_sha256
from runtime.paired import Interval, wilson_interval
from runtime.preprocess import Preprocessing, model_input
from runtime.session import Session
from runtime.tensors import Logits

Progress = Callable[[int, int], None]  # images done, images in all


class Corrupt(pydantic.BaseModel):
    """An image that was not scored, and why."""

    name: str
    error: str


class Agreement(pydantic.BaseModel):
    """How the model compares with its reference on the same images."""

    reference: str
    top1: float  # the reference's, percent
    agreement: float  # same top-1 class, percent
    interval: Interval
    max_abs: float  # largest difference of a logit
    sqnr_db: float | None  # of the logits; None: no difference at all


class Evaluation(pydantic.BaseModel):
    """The result of one evaluation; accuracies in percent of the images evaluated."""

    model: str
    runs_on: str
    random_weights: bool
    dataset: str
    list_sha256: str
    listed: int
    evaluated: int
    corrupt: list[Corrupt]
    top1: float
    top1_interval: Interval
    top5: float
    published_top1: float | None
    reference: Agreement | None
    seconds: float  # from the first image to the last, decoding included
    images_per_second: float
    model_images_per_second: float  # the model alone


class _Tally:
    """Running sums over the images seen so far."""

    def __init__(self) -> None:
        self.evaluated = self.top1 = self.top5 = self.reference_top1 = self.agree = 0
        self.max_abs = self.signal = self.noise = 0.0
        self.model_seconds = 0.0
        self.corrupt: list[Corrupt] = []

    def add(self, logits: Logits, labels: npt.NDArray[np.int64], reference: Logits | None) -> None:
        # A stable sort of the negated logits: ties go to the smaller class, as argmax has it.
        ranked = np.argsort(-logits, axis=1, kind="stable")[:, :5]
        self.evaluated += len(labels)
        self.top1 += int((ranked[:, 0] == labels).sum())
        self.top5 += int((ranked == labels[:, None]).any(axis=1).sum())
        if reference is not None:
            chosen = reference.argmax(axis=1)
            self.reference_top1 += int((chosen == labels).sum())
            self.agree += int((chosen == ranked[:, 0]).sum())
            difference = reference.astype(np.float64) - logits
            self.max_abs = max(self.max_abs, float(np.abs(difference).max()))
            self.signal += float((reference.astype(np.float64) ** 2).sum())
            self.noise += float((difference**2).sum())


def evaluate(
    session: Session,
    source: ImageSource,
    preprocessing: Preprocessing,
    *,
    reference: tuple[str, Session, Preprocessing] | None = None,
    batch_size: int = 32,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[_Tally, float]:
    """Run every image of `source` through `session`, and through the reference where there is one.

    Args:
        session: The model.
        source: Labelled images.
        preprocessing: The model's.
        reference: Name, session and preprocessing of the model to compare with; the crops are shared.
        batch_size: Images per run.
        workers: Decoding processes; see `decode_images`.
        progress: Called after every batch.

    Returns:
        The tally, and the seconds from the first image to the last.

    Raises:
        InputError: No image could be decoded, an image has no label, or the two preprocess differently.
        OutOfBoundsError: Logits that are not finite.
    """
    if reference is not None and not _same_crops(preprocessing, reference[2]):
        raise InputError(f"{reference[0]} resizes or crops differently from the model; expected the same preprocessing")
    tally, start = _Tally(), time.perf_counter()
    decoded = decode_images(source, preprocessing, workers)
    for batch in _batches(decoded, source, tally, batch_size):
        crops = np.stack([item.crop for item in batch if item.crop is not None])
        labels = np.array([item.label for item in batch], np.int64)
        started = time.perf_counter()
        logits = session.run(model_input(crops, preprocessing))
        tally.model_seconds += time.perf_counter() - started
        _check_labels(labels, logits.shape[1], source, batch)
        reference_logits = None
        if reference is not None:
            reference_logits = reference[1].run(model_input(crops, reference[2]))
            if reference_logits.shape != logits.shape:
                raise InputError(
                    f"{reference[0]} has {reference_logits.shape[1]} classes, the model has {logits.shape[1]}"
                )
        tally.add(logits, labels, reference_logits)
        if progress is not None:
            progress(tally.evaluated + len(tally.corrupt), len(source))
    if not tally.evaluated:
        first = tally.corrupt[0]
        raise InputError(f"none of the {len(source)} images could be used; the first: {first.name} {first.error}")
    return tally, time.perf_counter() - start


def _same_crops(one: Preprocessing, other: Preprocessing) -> bool:
    return (one.resize, one.crop, one.interpolation, one.color) == (
        other.resize,
        other.crop,
        other.interpolation,
        other.color,
    )


def _batches(
    decoded: Iterator[Decoded], source: ImageSource, tally: _Tally, batch_size: int
) -> Iterator[list[Decoded]]:
    """Yield the usable images in batches, noting the others in the tally."""

    def usable() -> Iterator[Decoded]:
        for item in decoded:
            if item.crop is None:
                tally.corrupt.append(Corrupt(name=source.name(item.index), error=item.error))
            else:
                yield item

    stream = usable()
    while batch := list(itertools.islice(stream, batch_size)):
        yield batch


def _check_labels(labels: npt.NDArray[np.int64], classes: int, source: ImageSource, batch: list[Decoded]) -> None:
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"{source.name(batch[first].index)} has label {labels[first]}, the model has {classes} classes (0 to "
            f"{classes - 1})"
        )


def summarize(
    tally: _Tally,
    seconds: float,
    *,
    model: str,
    session: Session,
    random_weights: bool,
    dataset: str,
    source: ImageSource,
    published_top1: float | None,
    reference: str | None,
) -> Evaluation:
    """Turn a tally into the result that is printed and written."""
    n = tally.evaluated
    return Evaluation(
        model=model,
        runs_on=session.description,
        random_weights=random_weights,
        dataset=dataset,
        list_sha256=list_sha256(source),
        listed=len(source),
        evaluated=n,
        corrupt=tally.corrupt,
        top1=100 * tally.top1 / n,
        top1_interval=wilson_interval(tally.top1, n),
        top5=100 * tally.top5 / n,
        published_top1=published_top1,
        reference=_agreement(tally, reference) if reference is not None else None,
        seconds=seconds,
        images_per_second=n / seconds,
        model_images_per_second=n / tally.model_seconds,
    )


def _agreement(tally: _Tally, reference: str) -> Agreement:
    return Agreement(
        reference=reference,
        top1=100 * tally.reference_top1 / tally.evaluated,
        agreement=100 * tally.agree / tally.evaluated,
        interval=wilson_interval(tally.agree, tally.evaluated),
        max_abs=tally.max_abs,
        sqnr_db=sqnr_db(tally.signal, tally.noise),
    )


def sqnr_db(signal: float, noise: float) -> float | None:
    """Return 10·log₁₀(Σ signal² / Σ noise²) of the two sums of squares; None where there is no noise."""
    if noise == 0:
        return None
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
