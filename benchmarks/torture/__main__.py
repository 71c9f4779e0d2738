"""Plant faults by the thousand and count what became of them: `python -m benchmarks.torture [--scale 0.01] [--only 1]`.

Every trial has a seed and a folder that holds its input before it is run; a run that was ended goes on where it was,
as long as its --work folder and seed are the same. Prints a table, writes benchmarks/results/torture.json, exits 1
where something did not hold.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.interleaved import machine, write_result

from .figure import Figure, Row, measure
from .figures import all_figures
from .preload import start_again_with_faults

WORK = pathlib.Path("build/torture")


def main() -> int:
    options = _arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    start_again_with_faults(options.work)
    os.environ["DEEPVIT_CACHE"] = str((options.work / "cache").absolute())
    (options.work / "cache").mkdir(parents=True, exist_ok=True, mode=0o700)
    figures = [each for each in all_figures() if not options.only or each.number in options.only]
    console = Console(stderr=True)
    rows = [_measured(figure, options, console) for figure in figures]
    Console().print(_table(rows, figures))
    if options.write:
        content = {"command": "make torture", "seed": options.seed, "scale": options.scale, "machine": machine()}
        write_result("torture", content | {"figures": [dataclasses.asdict(row) | {"holds": row.holds} for row in rows]})
    for row in rows:
        for fault in row.faults:
            print(f"{row.number}: {fault}")
    return 0 if rows and all(row.holds for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full counts")
    parser.add_argument("--only", action="append", help="a figure by its number; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=pathlib.Path, default=WORK, help="folder of inputs and journals")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/torture.json")
    return parser.parse_args()


def _measured(figure: Figure, options: argparse.Namespace, console: Console) -> Row:
    count = max(1, round(figure.count * options.scale))
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{figure.number} {figure.name}", total=count)
        row = measure(figure, count, options.seed, options.work.absolute(), lambda n: progress.advance(task, n))
    console.print(
        f"{figure.number:6s} {'holds' if row.holds else 'FAILS':6s} {row.seconds:7.1f} s  {json.dumps(row.labels)}"
    )
    return row


def _table(rows: list[Row], figures: list[Figure]) -> Table:
    table = Table("figure", "what", "trials", "of", "outcomes", "not held", "planted faults seen", "s")
    for row, figure in zip(rows, figures, strict=True):
        labels = ", ".join(f"{label} {count}" for label, count in row.labels.items())
        seen = f"{row.controls_seen} of {row.controls}"
        table.add_row(
            row.number, row.name, str(row.count), str(figure.count), labels, str(row.faulty), seen, f"{row.seconds:.0f}"
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
