"""benchmarks/results/torture.json: what each figure last showed on this machine, and of which code."""

import dataclasses
import json
import pathlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.common.interleaved import machine, write_result

from .figure import Figure, Row
from .figures import all_figures

NAME = "torture"
FILE = pathlib.Path(__file__).parents[1] / "results" / f"{NAME}.json"
OF_A_RUN = ("code", "command", "seed")


def record(rows: list[Row], figures: list[Figure], seed: int, code: str) -> None:
    """Write the rows into the file."""
    command = shlex.join(["python", "-m", "benchmarks.torture", *sys.argv[1:]])
    before = json.loads(FILE.read_text()) if FILE.is_file() else {}
    run = dict(zip(OF_A_RUN, (code, command, seed), strict=True))
    here = json.loads(json.dumps(machine()))
    write_result(NAME, merged(before, rows, figures, run, here))


def merged(
    before: Mapping[str, Any], rows: list[Row], figures: list[Figure], run: Mapping[str, Any], here: Mapping[str, Any]
) -> dict[str, object]:
    """Return the file's content with new rows; those of figures that were not run stay, with the code that they are of.

    A row of another machine goes; one of more trials of the same code stays instead of a new one.

    Args:
        before: The content as it is.
        rows: What was measured, one for each of `figures`.
        figures: What was run.
        run: `code`, `command` and `seed` of the rows.
        here: The machine.
    """
    kept = dict(_rows_of(before)) if before.get("machine") == here else {}
    for row, figure in zip(rows, figures, strict=True):
        old = kept.get(row.number)
        if old is None or old["code"] != run["code"] or old["count"] <= row.count:
            kept[row.number] = dataclasses.asdict(row) | {"full_count": figure.count, "holds": row.holds} | dict(run)
    numbers = [figure.number for figure in all_figures()]
    return {"machine": here, "figures": [kept[number] for number in numbers if number in kept]}


def _rows_of(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows by number; in a file of one run they have its code from the head."""
    run = {name: content[name] for name in OF_A_RUN if name in content}
    for row in content["figures"]:
        yield row["number"], run | row
