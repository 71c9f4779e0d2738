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
FAULTS_SHOWN = 5
LONGEST_SHOWN = 100  # of a value, in characters


class Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Partial(Record):
    """A record in whose JSON what is None is left out."""

    @pydantic.model_serializer(mode="wrap")
    def _without_none(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if value is not None}


class FileRecord(Record):
    """Size and hash of one file of the artifact."""

    bytes: Count
    sha256: Sha256


def cut(text: str) -> str:
    """Return the beginning of what may be too long for a line."""
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice in an object: who reads it may take the first or the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        for key, _ in pairs:
            if key not in found:
                raise ValueError(f"{cut(key)} stands there twice")
            del found[key]
    return found
