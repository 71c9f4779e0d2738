"""What all results have that commands write as JSON: a kind, a schema, and numbers that are rounded when written."""

import json
import math
from typing import Annotated, Any, ClassVar, Literal

import pydantic

SCHEMA: Literal[1] = 1
Fraction = Annotated[float, pydantic.Field(ge=0, le=1)]
DIGITS = 6  # significant ones, of every number that is no count: one image in 50,000 shows in a fraction


class Record(pydantic.BaseModel):
    """A part of a result. Shares of images are fractions (0.9883); names of other quantities end in their unit."""

    model_config = pydantic.ConfigDict(allow_inf_nan=False)


class Result(Record):
    """One JSON object; subclasses say its kind. Several models are a list, `models`, and so is one.

    Attributes:
        EXACT: Fields that are written as they are, since they are files of their own, with hashes over them.
    """

    EXACT: ClassVar[frozenset[str]] = frozenset()

    kind: str
    # `schema` itself is taken by pydantic; the JSON says "schema".
    schema_version: Literal[1] = pydantic.Field(default=SCHEMA, alias="schema")
    command: str | None = None  # what was typed

    def to_json(self, command: str | None = None) -> str:
        """Return the JSON object, its numbers rounded to DIGITS significant digits; `command` is what was typed."""
        content = self.model_dump(mode="json", by_alias=True) | ({} if command is None else {"command": command})
        written = {name: value if name in self.EXACT else rounded(value) for name, value in content.items()}
        text = json.dumps(written, indent=2, ensure_ascii=False)
        return text.encode("utf-8", "backslashreplace").decode()  # names of files may hold bytes that are no UTF-8


def rounded(value: Any) -> Any:
    """Return what JSON can hold with its numbers rounded, lists and objects within it too."""
    if isinstance(value, float):
        return rounded_number(value)
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def rounded_number(value: float) -> float:
    """Return a number with DIGITS significant digits, and no negative zero."""
    return float(f"{value:.{DIGITS}g}") + 0.0 if math.isfinite(value) else value
