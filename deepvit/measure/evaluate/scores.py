"""What is kept of each image's logits, and what is summed up from it: accuracy, calibration, distance to a reference.

Everything is a function of the images' records in the order of the list, so that neither batches nor interruptions nor
the number of processes change the result.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pydantic

from deepvit.metrics.distance import sqnr_db, squares
from deepvit.metrics.paired import PairedCounts, drop_fraction_interval, mcnemar_p, proportion_interval
from deepvit.metrics.result import Fraction, Record
from deepvit.runtime.artifact.manifest import Interval
from deepvit.runtime.session.tensors import Logits

TOP = 5
BINS = 15  # of the calibration error, as in its source
Records = Mapping[str, npt.NDArray[np.generic]]
Labels = npt.NDArray[np.int64]


class Agreement(Record):
    """How a model compares with its reference on the same images; fractions and counts of them."""

    reference: str
    top1: Fraction  # the reference's
    agreement: Fraction  # same top-1 class
    agreement_interval: Interval
    max_abs: float  # largest difference of a logit, where both are finite
    sqnr_db: float | None  # of the logits; None: no difference at all
    lost: int  # only the reference is right
    gained: int  # only the model is right
    changed: int  # both are wrong, by different classes
    # Of all images, by which top-1 is less than the reference's: 0.003 are 0.3 points.
    drop_fraction: Annotated[float, pydantic.Field(ge=-1, le=1)]
    drop_fraction_interval: Interval
    mcnemar_p: float
    non_finite: int  # images whose logits the reference has not finite


class ClassScore(Record):
    """Accuracy on the images of one class."""

    label: int
    images: int
    top1: Fraction
    top5: Fraction
    reference_top1: Fraction | None = None


class ReliabilityBin(Record):
    """Images by the probability of their top-1 class."""

    low: Fraction
    high: Fraction
    images: int
    confidence: Fraction | None  # the mean; None where there are none
    top1: Fraction | None


def image_records(logits: Logits, reference: Logits | None) -> dict[str, npt.NDArray[np.generic]]:
    """Return what is kept of logits (n, classes), each array (n, …).

    top5 is −1 and confidence 0 where logits are not finite. Against the reference's logits (n, classes): the largest
    difference, the sum of squares of the reference and that of the difference, 0 where one of both is not finite.
    """
    finite = np.asarray(np.isfinite(logits).all(axis=1))
    safe = np.where(finite[:, None], logits, 0)
    records: dict[str, npt.NDArray[np.generic]] = {
        "top5": np.where(finite[:, None], _ranked(safe), -1).astype(np.int32),
        "confidence": np.where(finite, _largest_probability(safe), 0.0),
    }
    if reference is None:
        return records
    comparable = (finite & np.isfinite(reference).all(axis=1))[:, None]
    expected = np.where(comparable, reference, 0).astype(np.float64)
    got = np.where(comparable, logits, 0)
    signal, noise = squares(got, expected, axis=1)
    return records | {"max_abs": np.abs(got - expected).max(axis=1), "signal": signal, "noise": noise}


def _ranked(logits: Logits) -> npt.NDArray[np.int64]:
    """Return the TOP largest classes (n, TOP) of finite logits, equal ones by number as argmax has it; −1 beyond."""
    rest = logits.copy()
    ranks = np.full((len(logits), TOP), -1, np.int64)
    rows = np.arange(len(logits))
    for rank in range(min(TOP, logits.shape[1])):
        ranks[:, rank] = rest.argmax(axis=1)
        rest[rows, ranks[:, rank]] = -np.inf
    return ranks


def _largest_probability(logits: Logits) -> npt.NDArray[np.float64]:
    wide = logits.astype(np.float64)
    shifted: npt.NDArray[np.float64] = np.exp(wide - wide.max(axis=1, keepdims=True)).sum(axis=1)
    return 1 / shifted


class Scores:
    """The records of one model on n images, with their labels (n,)."""

    def __init__(self, records: Records, labels: Labels, classes: int) -> None:
        self.records, self.labels, self.classes = records, labels, classes
        self.answers: npt.NDArray[np.int32] = records["top5"][:, 0].astype(np.int32)
        self.is_right = self.answers == labels
        self.is_in_top5 = (records["top5"] == labels[:, None]).any(axis=1)

    @property
    def images(self) -> int:
        return len(self.labels)

    @property
    def non_finite(self) -> int:
        return int((self.answers < 0).sum())

    def top1(self) -> float:
        return _share(self.is_right)

    def top5(self) -> float:
        return _share(self.is_in_top5)

    def agreement_with(self, reference: "Scores", name: str) -> Agreement:
        """Compare with the reference, whose images are the same."""
        agree = self.answers == reference.answers
        lost, gained = reference.is_right & ~self.is_right, self.is_right & ~reference.is_right
        counts = PairedCounts(
            self.images,
            int(agree.sum()),
            both=int((self.is_right & reference.is_right).sum()),
            lost=int(lost.sum()),
            gained=int(gained.sum()),
        )
        assert counts.lost is not None
        assert counts.gained is not None
        signal, noise = (float(np.sum(self.records[name])) for name in ("signal", "noise"))
        return Agreement(
            reference=name,
            top1=reference.top1(),
            agreement=counts.agree / counts.images,
            agreement_interval=proportion_interval(counts.agree, counts.images),
            max_abs=float(np.max(self.records["max_abs"])),
            sqnr_db=sqnr_db(signal, noise),
            lost=counts.lost,
            gained=counts.gained,
            changed=int((~agree & ~self.is_right & ~reference.is_right).sum()),
            drop_fraction=(counts.lost - counts.gained) / counts.images,
            drop_fraction_interval=drop_fraction_interval(counts),
            mcnemar_p=mcnemar_p(counts.lost, counts.gained),
            non_finite=reference.non_finite,
        )

    def by_class(self, reference: "Scores | None") -> list[ClassScore]:
        """Return the scores of every class that has images."""
        class_scores = []
        for label in range(self.classes):
            rows = np.flatnonzero(self.labels == label)
            if len(rows):
                class_scores.append(
                    ClassScore(
                        label=label,
                        images=len(rows),
                        top1=_share(self.is_right[rows]),
                        top5=_share(self.is_in_top5[rows]),
                        reference_top1=None if reference is None else _share(reference.is_right[rows]),
                    )
                )
        return class_scores

    def reliability(self) -> list[ReliabilityBin]:
        """Return the images in bins of equal width by the probability of their top-1 class."""
        confidence = self.records["confidence"].astype(np.float64)
        bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
        reliability = []
        for index in range(BINS):
            rows = np.flatnonzero(bins == index)
            reliability.append(
                ReliabilityBin(
                    low=index / BINS,
                    high=(index + 1) / BINS,
                    images=len(rows),
                    confidence=float(np.mean(confidence[rows])) if len(rows) else None,
                    top1=_share(self.is_right[rows]) if len(rows) else None,
                )
            )
        return reliability

    def real_top1(self, real: Sequence[Sequence[int]]) -> float | None:
        """Return top-1 by sets of valid labels, one for each image; empty sets do not count; None where all are."""
        right = [label in valid for label, valid in zip(self.answers.tolist(), real, strict=True) if valid]
        return sum(right) / len(right) if right else None


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the expected calibration error: Σ (images of the bin / images) · |top-1 − confidence|.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (arXiv:1706.04599), with its 15 bins.
    """
    images = sum(each.images for each in bins)
    gaps = (each.images * abs(each.top1 - each.confidence) for each in bins if each.images and _is_known(each))  # type: ignore[operator]
    return sum(gaps) / images


def _is_known(one: ReliabilityBin) -> bool:
    return one.top1 is not None and one.confidence is not None


def _share(hits: npt.NDArray[np.bool_]) -> float:
    """Return what part of `hits` is true."""
    return int(hits.sum()) / len(hits)
