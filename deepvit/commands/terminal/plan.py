"""What `--dry-run` gives, in words."""

import pathlib
from collections.abc import Iterator, Sequence

from deepvit.measure.results.plan import Plan, PlannedFile

from .console import out, write_json
from .progress import note


def planned_files(folder: pathlib.Path, names: Sequence[str]) -> list[PlannedFile]:
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
