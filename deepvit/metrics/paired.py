"""Two models on the same images: how much accuracy one loses, how often they agree, and how sure that is."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from deepvit.runtime.artifact.manifest import Interval

Z_95 = 1.959964  # two-sided 95% of a normal distribution
MOST_IMAGES = 10_000_000  # more are no answer to how many it takes


@dataclasses.dataclass(frozen=True)
class PairedCounts:
    """How many images fell where; `lost` are those that only the reference gets right.

    Without labels only `images` and `agree` are known, and the others are None.
    """

    images: int
    agree: int  # same top-1 class
    both: int | None = None  # right in both
    lost: int | None = None
    gained: int | None = None

    @property
    def agreement_percent(self) -> float:
        """Percent of images with the same top-1 class, as a budget has it."""
        return 100 * self.agree / self.images

    @property
    def drop_points(self) -> float | None:
        """Points of top-1 that the model loses against the reference; None without labels."""
        if self.lost is None or self.gained is None:
            return None
        return 100 * (self.lost - self.gained) / self.images

    def __add__(self, other: "PairedCounts") -> "PairedCounts":
        def total(one: int | None, two: int | None) -> int | None:
            return None if one is None or two is None else one + two

        return PairedCounts(
            self.images + other.images,
            self.agree + other.agree,
            total(self.both, other.both),
            total(self.lost, other.lost),
            total(self.gained, other.gained),
        )


def count_pairs(
    logits: npt.NDArray[np.float32], reference: npt.NDArray[np.float32], labels: npt.NDArray[np.int64] | None
) -> PairedCounts:
    """Count logits (N, classes) of a model against those of its reference, with labels (N,) where there are any."""
    answers, expected = logits.argmax(axis=1), reference.argmax(axis=1)
    agree = int((answers == expected).sum())
    if labels is None:
        return PairedCounts(len(logits), agree)
    right, was_right = answers == labels, expected == labels
    return PairedCounts(
        len(logits),
        agree,
        both=int((right & was_right).sum()),
        lost=int((was_right & ~right).sum()),
        gained=int((right & ~was_right).sum()),
    )


def proportion_interval(successes: float, trials: float) -> Interval:
    """Return Wilson's 95% interval of a proportion, as fractions; where all or none succeed it ends at 1 or 0 exactly.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    p, z2 = successes / trials, Z_95**2
    centre = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return Interval(
        low=0.0 if successes == 0 else centre - half,
        high=1.0 if successes == trials else centre + half,
    )


def percents(interval: Interval) -> str:
    """Return an interval of fractions in percent, or points."""
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"


def agreement_interval(counts: PairedCounts, images: int | None = None) -> Interval:
    """Return the 95% interval of the share of images that agree; that of so many `images` at the same rate."""
    return proportion_interval(counts.agree * (images or counts.images) / counts.images, images or counts.images)


def drop_fraction_interval(counts: PairedCounts, images: int | None = None) -> Interval:
    """Return the 95% interval of the share of images by which top-1 drops, paired; that of so many at the same rates.

    Source: R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17 (1998), method 10: Wilson's intervals, and a correlation φ corrected for
    continuity.
    """
    assert counts.both is not None
    assert counts.lost is not None
    assert counts.gained is not None
    n, scale = images or counts.images, (images or counts.images) / counts.images
    a, b, c = counts.both * scale, counts.lost * scale, counts.gained * scale
    d = n - a - b - c
    before, after = proportion_interval(a + b, n), proportion_interval(a + c, n)
    p1, p2 = (a + b) / n, (a + c) / n
    product = (a + b) * (c + d) * (a + c) * (b + d)
    excess = a * d - b * c
    corrected = max(excess - n / 2, 0.0) if excess >= 0 else excess
    phi = corrected / math.sqrt(product) if product else 0.0
    low = _joint(p1 - before.low, after.high - p2, phi)
    high = _joint(before.high - p1, p2 - after.low, phi)
    return Interval(low=p1 - p2 - low, high=p1 - p2 + high)


def _joint(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))


def mcnemar_p(lost: int, gained: int) -> float:
    """Return McNemar's exact two-sided p-value: how likely flips so uneven are where both models are equally good.

    Source: Q. McNemar, Psychometrika 12 (1947); the exact form is the binomial test of `lost` among all flips.
    """
    flips = lost + gained
    tail = sum(math.comb(flips, k) for k in range(min(lost, gained) + 1)) / 2**flips
    return min(1.0, 2 * tail)


def images_to_show(is_shown: Callable[[int], bool], at_least: int) -> int | None:
    """Return the least number of images, from `at_least` on, that `is_shown` holds for, as for all larger ones.

    None where ten million do not suffice.
    """
    low, high = at_least - 1, at_least
    while not is_shown(high):
        low, high = high, 2 * high
        if low > MOST_IMAGES:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_shown(middle) else (middle, high)
    return high
