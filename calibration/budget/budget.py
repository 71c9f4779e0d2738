"""An accuracy budget, and the fewest linears to keep out of quantisation so that it is met."""

import dataclasses
import enum
import math
from collections.abc import Callable, Sequence

from deepvit.metrics.paired import PairedCounts
from deepvit.runtime.errors import InputError


class BudgetKind(enum.Enum):
    """What is limited."""

    MAX_DROP = "max-drop"  # points of top-1 that may be lost against float32; needs labels
    MIN_AGREEMENT = "min-agreement"  # percent of images with the same top-1 class

    @property
    def option(self) -> str:
        """What it is given by, as texts name it."""
        return f"‹{self.value.replace('-', '_')}›"


@dataclasses.dataclass(frozen=True)
class Budget:
    """How much accuracy quantisation may cost."""

    kind: BudgetKind
    limit: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.limit) and 0 <= self.limit <= 100):
            raise InputError(f"{self.kind.option} {self.limit:g}: expected 0 to 100")

    def is_met(self, counts: PairedCounts) -> bool:
        """Return whether the counts, as they were measured, are within the budget.

        Raises:
            InputError: The budget is one of accuracy and the images have no labels.
        """
        if self.kind is BudgetKind.MIN_AGREEMENT:
            return counts.agreement_percent >= self.limit
        if counts.drop_points is None:
            raise InputError("‹max_drop› needs labelled images; give ‹min_agreement›, which needs none")
        return counts.drop_points <= self.limit

    def describe(self, counts: PairedCounts) -> str:
        """Return in words what was measured, and what is allowed."""
        if self.kind is BudgetKind.MAX_DROP and counts.drop_points is not None:
            return f"top-1 drop {counts.drop_points:.2f} points, at most {self.limit:g}"
        return f"agreement {counts.agreement_percent:.2f}%, at least {self.limit:g}"


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
    ranking: Sequence[str], budget: Budget, measure: Callable[[frozenset[str]], PairedCounts], at_least: int = 0
) -> Kept:
    """Bisect for the least number of units, the most sensitive first, that have to be kept for `budget`.

    That more kept units cost less is assumed, as it is by every bisection; what is returned was measured.

    Args:
        ranking: All units, the most sensitive first.
        budget: What must hold.
        measure: Counts with the given units quantised.
        at_least: Units to keep in any case.

    Returns:
        The least choice that meets the budget; where none does, that of all units but one, which is not met.
    """
    everything = frozenset(ranking)

    def choose(count: int) -> Kept:
        units = tuple(ranking[:count])
        counts = measure(everything - set(units))
        return Kept(units, counts, budget.is_met(counts))

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
