"""What a dry run found, as a result: what a command would do, write and measure, and about what it would take."""

from typing import Literal

from deepvit.metrics.result import Record, Result


class PlannedFile(Record):
    """A file or folder that would be written, and whether one is there already, which it would replace."""

    path: str
    exists: bool


class Cost(Record):
    """About what a command takes, and what that was estimated from."""

    seconds: float
    memory_bytes: int
    basis: str


class Plan(Result):
    """A command that nothing speaks against as far as can be told early."""

    kind: Literal["plan"] = "plan"
    planned: Literal["export", "build", "package"]
    stages: list[str]
    files: list[PlannedFile]
    measures: list[str]
    disk_bytes: int  # about
    cost: Cost | None  # None: nothing was measured to estimate it from
    notes: list[str]
