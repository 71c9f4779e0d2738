"""What a machine can do, as a result."""

from collections.abc import Iterable
from typing import Literal

from deepvit.metrics.result import Record, Result

from ..doctor import Finding


class Ability(Record):
    """One ability: whether it works here, and by what or why not."""

    ability: str
    works: bool
    detail: str


class Diagnosis(Result):
    """What `doctor` found."""

    kind: Literal["doctor"] = "doctor"
    abilities: list[Ability]


def diagnosis_of(findings: Iterable[Finding]) -> Diagnosis:
    """Return findings as a result."""
    return Diagnosis(
        abilities=[Ability(ability=finding.ability, works=finding.works, detail=finding.detail) for finding in findings]
    )
