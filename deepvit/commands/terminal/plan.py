"""What `--dry-run` gives: what a command would do, write and measure, and what it would take; in words and as JSON."""

import pathlib
from collections.abc import Iterator
from typing import Literal

import pydantic

from .console import out, write_json
from .progress import note


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PlannedFile(_Record):
    """A file or folder that would be written, and whether one is there already, which it would replace."""

    path: str
    exists: bool


class Cost(_Record):
    """About what a command takes, and what that was estimated from."""

    seconds: float
    memory_bytes: int
    basis: str


class Plan(_Record):
    """A command that nothing speaks against as far as can be told early."""

    kind: Literal["plan"] = "plan"
    schema_version: Literal[1] = pydantic.Field(default=1, alias="schema")
    command: Literal["export", "build", "package"]
    stages: list[str]
    files: list[PlannedFile]
    measures: list[str]
    disk_bytes: int  # about
    cost: Cost | None = None  # None: nothing was measured to estimate it from
    notes: list[str] = []

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True, indent=2)


def planned_files(folder: pathlib.Path, names: tuple[str, ...] | list[str]) -> list[PlannedFile]:
    """Return the files of a folder as a plan has them."""
    return [PlannedFile(path=str(folder / name), exists=(folder / name).exists()) for name in names]


def describe_plan(plan: Plan) -> Iterator[str]:
    """Yield the plan in words."""
    yield "would do:"
    for stage in plan.stages:
        yield f"  · {stage}"
    yield f"would write, about {_size(plan.disk_bytes)}:"
    for file in plan.files:
        yield f"  {file.path}{' (replaced)' if file.exists else ''}"
    if plan.measures:
        yield "would measure:"
        for text in plan.measures:
            yield f"  {text}"
    if plan.cost is None:
        yield "time and memory: not estimated, since none was measured to estimate them from"
    else:
        took = f"about {_duration(plan.cost.seconds)} and {_size(plan.cost.memory_bytes)} of memory"
        yield f"would take {took}: {plan.cost.basis}"
    yield from plan.notes


def show_plan(plan: Plan, json_path: pathlib.Path | None) -> None:
    """Print the plan, and write it where --json asked for it."""
    note("dry run: nothing is done or written")
    for line in describe_plan(plan):
        out.print(line)
    write_json(json_path, plan.to_json)


def _size(size: int) -> str:
    return f"{size / 1e6:.3g} MB" if size < 1e9 else f"{size / 1e9:.2g} GB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
