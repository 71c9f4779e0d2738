"""The torture in small: the figures that take seconds hold and see their planted faults; what does not hold is told."""

import json
import os
import subprocess
import sys

from benchmarks.torture.figure import Figure, Journal, Run, measure
from benchmarks.torture.record import FILE, merged
from benchmarks.torture.trial import Result
from tests.places import ROOT

QUICK = (
    "1",
    "2 safetensors",
    "4 files",
    "4 manifests",
    "5 mutants",
    "5 foreign",
    "5 truncated",
    "5 bombs",
    "12 output",
)


def _sound(case):
    return Result("sound")


def _odd_ones_fail(case):
    return Result("odd", "it is odd") if case.index % 2 else Result("even")


def test_the_quick_figures_hold(tmp_path):
    """Of the others, each takes a minute: benchmarks/torture/ has them, `make torture` runs all."""
    chosen = [option for number in QUICK for option in ("--only", number)]
    command = [sys.executable, "-m", "benchmarks.torture", "--scale", "0.0005", "--work", str(tmp_path), *chosen]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "300"})
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr.count("holds") == len(QUICK)


def test_what_does_not_hold_is_told_and_a_control_must_fail(tmp_path):
    said = []
    figure = Figure(
        number="0", name="odd numbers", count=6, trial=_odd_ones_fail, controls=(_odd_ones_fail, _odd_ones_fail)
    )
    row = measure(figure, 6, Run(seed=0, work=tmp_path), said.append)
    assert (row.count, row.faulty, row.labels, row.holds) == (6, 3, {"even": 3, "odd": 3}, False)
    assert row.faults == [f"trial {number}: it is odd" for number in (1, 3, 5)]
    assert (row.controls, row.controls_seen) == (2, 1)  # the first control is even, and passes as it must not
    assert sum(said) == 6


def test_a_run_goes_on_where_it_was(tmp_path):
    figure = Figure(number="0", name="numbers", count=6, trial=_sound, controls=(_odd_ones_fail, _odd_ones_fail))
    measure(figure, 4, Run(seed=0, work=tmp_path), print)
    journal = tmp_path / "0" / "journal-0.jsonl"
    assert len(Journal(journal).results) == 4
    journal.write_text(journal.read_text() + '{"trial": 4, "la')  # killed while it was writing
    row = measure(figure, 6, Run(seed=0, work=tmp_path), print)
    assert row.count == 6
    assert len(Journal(journal).results) == len(journal.read_text().splitlines()) == 6
    none = measure(figure, 6, Run(seed=1, work=tmp_path, deadline=0), print)
    assert (none.count, none.holds) == (0, False)


def test_rows_are_kept_with_the_code_that_they_are_of(tmp_path):
    figure = Figure(number="1", name="numbers", count=6, trial=_sound, controls=(_odd_ones_fail, _odd_ones_fail))
    row = measure(figure, 6, Run(seed=0, work=tmp_path), print)
    run, here = {"code": "new", "command": "c", "seed": 0}, {"cpu": "x"}
    old = {"number": "2 pth", "count": 9, "holds": True}
    before = {"machine": here, "code": "old", "command": "b", "seed": 0, "figures": [{"number": "1", "count": 9}, old]}
    new, kept = merged(before, [row], [figure], run, here)["figures"]
    assert (new["number"], new["count"], new["code"], new["full_count"]) == ("1", 6, "new", 6)
    assert kept == old | {"code": "old", "command": "b", "seed": 0}
    same = before | {"code": "new"}
    assert merged(same, [row], [figure], run, here)["figures"][0]["count"] == 9  # more trials of the same code
    assert len(merged(before, [row], [figure], run, {"cpu": "y"})["figures"]) == 1  # nothing of another machine


def test_what_is_committed_holds_at_full_count_and_saw_its_planted_faults():
    for row in json.loads(FILE.read_text())["figures"]:
        assert row["holds"], row["number"]
        assert (row["count"], row["controls_seen"]) == (row["full_count"], row["controls"]), row["number"]
        assert row["controls"] > 0
