"""What the fields of a manifest are made of, and how large they may be."""

from typing import Annotated, Any

import pydantic

Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]
LARGEST_INT = 2**63 - 1  # what C++ counts with
PositiveInt = Annotated[int, pydantic.Field(ge=1, le=LARGEST_INT)]
Count = Annotated[int, pydantic.Field(ge=0, le=LARGEST_INT)]
# These bound what a hostile manifest makes its readers allocate.
Classes = Annotated[int, pydantic.Field(ge=1, le=1_000_000)]
BatchSize = Annotated[int, pydantic.Field(ge=1, le=65_536)]
Dimension = Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)]
MOST_CHANNELS = 1024


class Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Partial(Record):
    """A record in whose JSON what is None is left out."""

    @pydantic.model_serializer(mode="wrap")
    def _without_none(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value is not None}
