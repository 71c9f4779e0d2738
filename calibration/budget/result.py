"""How much each linear costs when it is quantised, as a record."""

from typing import Literal

import pydantic

from deepvit.runtime.manifest import Grid


class UnitSensitivity(pydantic.BaseModel):
    """What quantising one unit does; `kl` is the mean Kullback-Leibler divergence from float32, in nats."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    unit: str
    alone_kl: float  # this one quantised, all others not
    alone_sqnr_db: float | None  # of the logits; None: no difference at all
    left_out_kl: float  # all quantised but this one
    left_out_sqnr_db: float | None


class Sensitivity(pydantic.BaseModel):
    """The table of all units, the most sensitive first."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["sensitivity"] = "sensitivity"
    grid: Grid
    images: int
    random_weights: bool
    all_kl: float  # everything quantised
    all_sqnr_db: float | None
    units: list[UnitSensitivity]

    @property
    def ranking(self) -> list[str]:
        return [row.unit for row in self.units]
