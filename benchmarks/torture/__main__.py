"""Plant faults by the thousand and count what became of them: `python -m benchmarks.torture [--scale 0.01] [--only 1]`.

Every trial has a seed and a folder that holds its input before it is run; a run of the same code that was ended goes on
where it was. Prints a table, writes its rows into benchmarks/results/torture.json with --write, exits 1 where something
did not hold.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from .figure import Figure, Row, Run, measure
from .figures import all_figures
from .preload import start_again_with_faults
from .record import record

WORK = pathlib.Path("build/torture")
CODE = ("deepvit", "runtime", "export", "calibration", "benchmarks/torture")


def main() -> int:
    options = _arguments()
    code = _code()
    work = (options.work / code).absolute()
    (work / "cache").mkdir(parents=True, exist_ok=True, mode=0o700)
    start_again_with_faults(work)
    os.environ["DEEPVIT_CACHE"] = str(work / "cache")
    figures = [each for each in all_figures() if not options.only or each.number in options.only]
    console = Console(stderr=True)
    run = Run(seed=options.seed, work=work, deadline=time.monotonic() + 60 * options.minutes)
    rows = [_measured(figure, options.scale, run, console) for figure in figures]
    Console().print(_table(rows, figures))
    for row in rows:
        for fault in row.faults:
            print(f"{row.number}: {fault}")
    if options.write:
        record(rows, figures, options.seed, code)
    return 0 if rows and all(row.holds for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full counts; at least one trial each")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no trial begins")
    parser.add_argument("--only", action="append", help="a figure by its number; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=pathlib.Path, default=WORK, help="folder of inputs and journals")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/torture.json")
    return parser.parse_args()


def _code() -> str:
    """Return the hash of the code as git has it, marked where the work tree's is another: its journals alone count."""
    names = _git("rev-parse", *(f"HEAD:{folder}" for folder in CODE))
    changed = _git("status", "--porcelain", "--", *CODE)
    return hashlib.sha256(names.encode()).hexdigest()[:12] + ("-changed" if changed else "")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def _measured(figure: Figure, scale: float, run: Run, console: Console) -> Row:
    count = max(1, round(figure.count * scale))
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{figure.number} {figure.name}", total=count)
        row = measure(figure, count, run, lambda done: progress.advance(task, done))
    verdict = "holds" if row.holds else "FAILS"
    console.print(f"{figure.number:14s} {verdict} {row.seconds:7.1f} s  {json.dumps(row.labels)}", soft_wrap=True)
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
