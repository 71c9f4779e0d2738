"""A figure: so many trials of one kind, each from a seed of its own, and planted faults that the trials must see.

Trials are run in two processes, in any order; what each showed is written to a journal beside its input as soon as it
is known, so that a run that was ended goes on where it was.
"""

import concurrent.futures
import dataclasses
import json
import multiprocessing
import pathlib
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

from .trial import Result

Argument, Value = TypeVar("Argument"), TypeVar("Value")
PROCESSES = 2
FAULTS_KEPT = 20


@dataclasses.dataclass(frozen=True)
class Case:
    """What a trial is given: its number, its own random numbers, a folder for its input, the figure's material."""

    index: int
    random: random.Random
    folder: pathlib.Path
    material: pathlib.Path


Trial = Callable[[Case], Result]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """`count` trials in full; `prepare` fills the folder that all of them read; `controls` must all show a fault."""

    number: str  # in the table of figures: "1", "5 C++"
    name: str
    count: int
    trial: Trial
    controls: tuple[Trial, ...]
    prepare: Callable[[pathlib.Path], None] | None = None
    processes: int = PROCESSES  # 1 where trials would disturb each other


@dataclasses.dataclass(frozen=True)
class Row:
    """What a figure came to."""

    number: str
    name: str
    count: int
    labels: dict[str, int]
    faults: list[str]  # the first of them: "trial 17: …"
    faulty: int
    controls: int
    controls_seen: int
    seconds: float

    @property
    def holds(self) -> bool:
        return self.count > 0 and self.faulty == 0 and self.controls_seen == self.controls > 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """How figures are measured: from which seed, in which folder, and until when (`time.monotonic`) trials begin."""

    seed: int
    work: pathlib.Path
    deadline: float = float("inf")


def measure(figure: Figure, count: int, run: Run, say: Callable[[int], None]) -> Row:
    """Run `count` trials, or as many as begin in time, and the controls; what the journal has is not run again."""
    seed, work = run.seed, run.work
    folder = work / figure.number.replace(", ", "-").replace(" ", "-")
    material = folder / "material"
    journal = Journal(folder / f"journal-{seed}.jsonl")
    started = time.monotonic()
    if not (folder / "prepared").exists():
        shutil.rmtree(material, ignore_errors=True)
        material.mkdir(parents=True)
        if figure.prepare is not None:
            _in_other_process(figure.prepare, material)
        (folder / "prepared").touch()
    job = _Job(figure, seed, folder)
    controls = [_in_other_process(job.control, index) for index in range(len(figure.controls))]
    todo = [index for index in range(count) if index not in journal.results]
    say(count - len(todo))
    context = multiprocessing.get_context("fork")  # what is loaded once is loaded for all
    with concurrent.futures.ProcessPoolExecutor(figure.processes, mp_context=context) as pool:
        for index, result in _unordered(pool, job, todo, run.deadline):
            journal.add(index, result)
            say(1)
    results = [(index, journal.results[index]) for index in range(count) if index in journal.results]
    faults = [f"trial {index}: {result.fault}" for index, result in results if result.fault]
    return Row(
        number=figure.number,
        name=figure.name,
        count=len(results),
        labels=dict(sorted(Counter(result.label for _, result in results).items())),
        faults=faults[:FAULTS_KEPT],
        faulty=len(faults),
        controls=len(controls),
        controls_seen=sum(bool(control.fault) for control in controls),
        seconds=round(journal.seconds + time.monotonic() - started, 1),
    )


def _unordered(
    pool: concurrent.futures.ProcessPoolExecutor, job: "_Job", todo: list[int], deadline: float
) -> Iterator[tuple[int, Result]]:
    """Yield results as they come, with a bounded number of trials handed out."""
    waiting: dict[concurrent.futures.Future[Result], int] = {}
    rest = iter(todo)
    while True:
        while len(waiting) < 2 * PROCESSES and time.monotonic() < deadline:
            index = next(rest, None)
            if index is None:
                break
            waiting[pool.submit(job, index)] = index
        if not waiting:
            return
        done, _ = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            yield waiting.pop(future), future.result()


@dataclasses.dataclass(frozen=True)
class _Job:
    figure: Figure
    seed: int
    folder: pathlib.Path

    def __call__(self, index: int) -> Result:
        return self._run(self.figure.trial, index, f"trial-{index}")

    def control(self, index: int) -> Result:
        return self._run(self.figure.controls[index], index, f"control-{index}")

    def _run(self, trial: Trial, index: int, name: str) -> Result:
        """Run one trial in a folder of its own, which stays where something did not hold."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        own = random.Random(f"{self.seed} {self.figure.number} {name}")
        result = trial(Case(index, own, folder, self.folder / "material"))
        if not result.fault or name.startswith("control"):
            shutil.rmtree(folder, ignore_errors=True)
        return result


def _in_other_process(function: Callable[[Argument], Value], argument: Argument) -> Value:
    """Run it in a forked process, so that this one starts no threads, which would not survive a fork."""
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, argument).result()


class Journal:
    """Results of trials by number, one JSON line each, and how long earlier runs took."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.results: dict[int, Result] = {}
        self.seconds = 0.0
        self._opened = time.monotonic()
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # the last line of a run that was killed
            path.write_text(whole, encoding="utf-8")
        for row in map(json.loads, whole.splitlines()):
            self.results[row["trial"]] = Result(row["label"], row["fault"])
            self.seconds = row["seconds"]
        self._earlier = self.seconds

    def add(self, index: int, result: Result) -> None:
        self.results[index] = result
        seconds = round(self._earlier + time.monotonic() - self._opened, 2)
        row = {"trial": index, "label": result.label, "fault": result.fault, "seconds": seconds}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
