"""How much each linear costs when it is quantised, as a record."""

from typing import Literal

from deepvit.metrics.result import Record, Result
from deepvit.runtime.artifact.manifest import Grid


class UnitSensitivity(Record):
    """What quantising one unit does; `kl` is the mean Kullback-Leibler divergence from float32."""

    unit: str
    alone_kl_nats: float  # this one quantised, all others not
    alone_sqnr_db: float | None  # of the logits; None: no difference at all
    left_out_kl_nats: float  # all quantised but this one
    left_out_sqnr_db: float | None


class Sensitivity(Result):
    """The table of all units, the most sensitive first."""

    kind: Literal["sensitivity"] = "sensitivity"
    variant: str | None = None  # None where a search asks for itself
    grid: Grid
    images: int
    random_weights: bool
    all_kl_nats: float  # everything quantised
    all_sqnr_db: float | None
    units: list[UnitSensitivity]

    @property
    def ranking(self) -> list[str]:
        return [row.unit for row in self.units]
