"""An accuracy budget, and the fewest linears to keep out of quantisation so that it is met."""

import dataclasses
import enum
import math
from collections.abc import Callable, Sequence

from deepvit.metrics.paired import PairedCounts, agreement_interval, drop_fraction_interval, images_to_show
from deepvit.runtime.errors import InputError


class BudgetKind(enum.Enum):
    """What is limited."""

    MAX_DROP = "max-drop"  # points of top-1 that may be lost against float32; needs labels
    MIN_AGREEMENT = "min-agreement"  # percent of images with the same top-1 class

    @property
    def option(self) -> str:
        """What it is given by, as texts name it."""
        return f"‹{self.value.replace('-', '_')}›"


class Evidence(enum.Enum):
    """What has to be within a budget."""

    ESTIMATE = "estimate"  # what was measured, which a few images meet by chance
    INTERVAL = "interval"  # the end of its 95% interval: a larger drop, or a smaller agreement, is unlikely


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much accuracy quantisation may cost, and what has to be within that."""

    kind: BudgetKind
    limit: float
    evidence: Evidence = Evidence.ESTIMATE

    def __post_init__(self) -> None:
        if not (math.isfinite(self.limit) and 0 <= self.limit <= 100):
            raise InputError(f"{self.kind.option} {self.limit:g}: expected 0 to 100")

    @property
    def text(self) -> str:
        """As in a manifest: "max-drop 0.3"."""
        return f"{self.kind.value} {self.limit:g}"

    def is_met(self, counts: PairedCounts, images: int | None = None) -> bool:
        """Return whether the counts are within the budget; where the interval has to be, that of so many `images`.

        Raises:
            InputError: The budget is one of accuracy and the images have no labels.
        """
        if self.evidence is Evidence.INTERVAL:
            return self.is_shown(counts, images)
        if self.kind is BudgetKind.MIN_AGREEMENT:
            return counts.agreement_percent >= self.limit
        return _drop(counts) <= self.limit

    def is_shown(self, counts: PairedCounts, images: int | None = None) -> bool:
        """Return whether the interval is within the budget too, that of so many `images` at the same rates."""
        reached = self.reached(counts, images)
        return reached >= self.limit if self.kind is BudgetKind.MIN_AGREEMENT else reached <= self.limit

    def reached(self, counts: PairedCounts, images: int | None = None) -> float:
        """Return the worse end of the interval, in points or percent."""
        if self.kind is BudgetKind.MIN_AGREEMENT:
            return 100 * agreement_interval(counts, images).low
        _drop(counts)
        return 100 * drop_fraction_interval(counts, images).high

    def images_needed(self, counts: PairedCounts) -> int | None:
        """Return how many images would show that the budget is met, at the rates that were measured.

        None where none would: what was measured is no better than the limit, or too close to it.
        """
        is_agreement = self.kind is BudgetKind.MIN_AGREEMENT
        spare = counts.agreement_percent - self.limit if is_agreement else self.limit - _drop(counts)
        if spare <= 0:
            return None
        return images_to_show(lambda images: self.is_shown(counts, images), counts.images)

    def describe(self, counts: PairedCounts) -> str:
        """Return in words what was measured, and what is allowed."""
        if self.kind is BudgetKind.MAX_DROP and counts.drop_points is not None:
            return f"top-1 drop {counts.drop_points:.2f} points, at most {self.limit:g}"
        return f"agreement {counts.agreement_percent:.2f}%, at least {self.limit:g}"


def _drop(counts: PairedCounts) -> float:
    if counts.drop_points is None:
        raise InputError("‹max_drop› needs labelled images; give ‹min_agreement›, which needs none")
    return counts.drop_points


def drop_of_at_most(points: float) -> Budget:
    """Return a budget of top-1."""
    return Budget(BudgetKind.MAX_DROP, points)


def agreement_of_at_least(percent: float) -> Budget:
    """Return a budget of images with the same top-1 class."""
    return Budget(BudgetKind.MIN_AGREEMENT, percent)


@dataclasses.dataclass(frozen=True)
class Kept:
    """The units that stay in the graph's own precision, and what the rest cost on the images of the search."""

    units: tuple[str, ...]
    counts: PairedCounts
    is_met: bool


def fewest_kept(
    ranking: Sequence[str],
    budget: Budget,
    measure: Callable[[frozenset[str]], PairedCounts],
    at_least: int = 0,
    images: int | None = None,
) -> Kept:
    """Bisect for the least number of units, the most sensitive first, that have to be kept for `budget`.

    That more kept units cost less is assumed, as it is by every bisection; what is returned was measured.

    Args:
        ranking: All units, the most sensitive first.
        budget: What must hold.
        measure: Counts with the given units quantised.
        at_least: Units to keep in any case.
        images: How many images the choice is going to be checked on; as many as are measured where None.

    Returns:
        The least choice that meets the budget; where none does, that of all units but one, which is not met.
    """
    everything = frozenset(ranking)

    def choose(count: int) -> Kept:
        units = tuple(ranking[:count])
        counts = measure(everything - set(units))
        return Kept(units, counts, budget.is_met(counts, images))

    low = choose(at_least)
    if low.is_met or at_least >= len(ranking) - 1:
        return low
    high = choose(len(ranking) - 1)  # one at least is quantised: a model without any is no quantised one
    if not high.is_met:
        return high
    while len(high.units) - len(low.units) > 1:
        middle = choose((len(low.units) + len(high.units)) // 2)
        low, high = (low, middle) if middle.is_met else (middle, high)
    return high
