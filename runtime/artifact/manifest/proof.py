"""What a manifest says of proof: the parity ladder, how it was quantised, and what that cost."""

from typing import Annotated, Any, Literal

import pydantic

from .fields import LARGEST_INT, Count, PositiveInt, Record, Sha256
from .forms import Grid, Split


class Interval(Record):
    """A 95% confidence interval of a fraction."""

    low: float
    high: float


class ParityStage(Record):
    """One rung of the parity ladder: how far `stage` is from `against` on so many images."""

    stage: str
    against: str
    max_abs: float
    sqnr_db: float | None  # None: no difference at all
    top1_agreement: float  # in [0, 1]
    top1_interval: Interval | None = None  # Wilson's, in [0, 1]; None: exported before there was one
    images: PositiveInt
    top1_enforced: bool = True  # False with random weights, whose top-1 is decided by rounding


class AccuracyCheck(Record):
    """What quantisation cost on images that had no part in it, against the float32 graph, as fractions of them."""

    unit: Literal["fraction"]  # a record without it is an earlier version's, in percent and points: see `_from_percent`
    images: PositiveInt
    list_sha256: Sha256
    split: Split
    agreement: float
    agreement_interval: Interval
    reference_top1: float | None = None  # these are None without labels
    top1: float | None = None
    drop: float | None = None
    drop_interval: Interval | None = None
    mcnemar_p: float | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_percent(cls, value: object) -> object:
        return {"unit": "fraction"} | _as_fractions(value) if isinstance(value, dict) and "unit" not in value else value


def _as_fractions(percents: dict[str, Any]) -> dict[str, Any]:
    """Return a check in percent and points as fractions; what is no number is left to the validation that follows."""
    exact = ("images", "mcnemar_p")
    return {name: part if name in exact else _as_fraction(part) for name, part in percents.items()}


def _as_fraction(value: Any) -> Any:
    if isinstance(value, dict):
        return _as_fractions(value)
    return value / 100 if isinstance(value, int | float) and not isinstance(value, bool) else value


class BudgetProof(Record):
    """Whether the interval of the check is within the budget, as the measured value is."""

    is_shown: bool
    is_demanded: bool  # else the measured value was enough
    images_needed: PositiveInt | None = None  # to show it at the rates that were measured; None: no number would


class Calibration(Record):
    """What quantisation ranges came from, what was left out of it, and what it cost."""

    method: str | None = None  # this and what came of images is None where weights alone are quantised
    images: PositiveInt | None = None
    list_sha256: Sha256 | None = None
    ranges_sha256: Sha256 | None = None
    grid: Grid
    split: Split | None = None
    seed: Annotated[int, pydantic.Field(ge=-LARGEST_INT, le=LARGEST_INT)] | None = None
    replaced: tuple[str, ...] = ()  # images that could not be decoded
    rescaled: Count = 0  # sites where activations were rescaled or shifted into weights
    weight_only: bool = False
    attention: bool = False
    budget: str | None = None  # "max-drop 0.3"
    budget_proof: BudgetProof | None = None
    kept: tuple[str, ...] = ()  # linears that stay in the graph's own precision: "blocks.3.mlp.fc2"
    check: AccuracyCheck | None = None  # None: nothing held out, or random weights

    @pydantic.model_validator(mode="after")
    def _measured(self) -> "Calibration":
        measured = (self.method, self.images, self.list_sha256, self.ranges_sha256, self.split, self.seed)
        if None in measured and (not self.weight_only or measured.count(None) < len(measured)):
            raise ValueError("expected method, images, list_sha256, ranges_sha256, split and seed, or weight_only")
        return self
