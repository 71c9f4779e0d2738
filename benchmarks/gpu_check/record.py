"""What a check of a GPU finds, as records, and the files that hold them."""

import gzip
import hashlib
import json
import pathlib
import re
from typing import Any, Literal, Self

import pydantic

from deepvit.measure.bench.conditions import Conditions
from deepvit.metrics.result import Record, Result
from deepvit.runtime.files import replaced

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
CODE = ("deepvit", "runtime", "export", "calibration", "benchmarks/gpu_check")


class Check(Record):
    """Something that must hold: `measured`, None where it is no finite number, against a bound in words."""

    name: str
    passed: bool
    measured: float | str | None
    unit: str
    bound: str


class Figure(Record):
    """Something that was measured and is held against nothing."""

    name: str
    value: float | None  # None on fakes, whose speeds tell nothing
    unit: str
    spread: float | None = None  # between the quartiles of what was measured in rounds
    predicted: float | None = None  # before anything was measured


class Skipped(Record):
    """A part that was not run, and why."""

    what: str
    why: str


class Note(Record):
    name: str
    text: str


class Section(Record):
    """What one section found, up to where it failed if it did."""

    name: str
    outcome: Literal["done", "failed", "skipped", "unfinished"]
    why: str | None = None  # it was skipped, or how it ended
    traceback: str | None = None
    seconds: float = 0.0
    checks: list[Check] = []
    figures: list[Figure] = []
    notes: list[Note] = []
    skipped: list[Skipped] = []

    @property
    def holds(self) -> bool:
        return self.outcome not in ("failed", "unfinished") and all(check.passed for check in self.checks)


class GpuCheck(Result):
    """One run; of a run on fakes it is said, and that it is no GPU's."""

    kind: Literal["gpu-check"] = "gpu-check"
    fake: bool
    gpu: str | None
    code: str  # the hash of the sources that were run
    started: str  # in UTC
    minutes: float
    machine: Conditions
    layers: str | None = None  # the file beside this one with the layers of the engines
    layers_written: int = pydantic.Field(default=0, exclude=True)  # of how many engines they are
    sections: list[Section] = []

    @pydantic.model_validator(mode="after")
    def _is_a_gpu_s_or_fake(self) -> Self:
        if self.fake != (self.gpu is None) or (self.fake and self.machine.gpu is not None):
            raise ValueError("a run on fakes names no GPU, every other run names its own")
        return self

    @property
    def holds(self) -> bool:
        """Whether something was checked, and nothing failed."""
        return all(each.holds for each in self.sections) and any(each.checks for each in self.sections)


def write(result: GpuCheck, path: pathlib.Path, command: str, layers: dict[str, str]) -> None:
    """Put the result in the place of what is at `path`, in one step, and engines' layers beside it where they are new.

    Args:
        result: What was found so far; it is told how many layers have been written, and where.
        path: The file.
        command: What was typed.
        layers: Name of an engine → its inspector's JSON.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(layers) > result.layers_written:
        beside = path.with_name(f"{path.stem}-layers.json.gz")
        content = json.dumps({name: _parsed(text) for name, text in layers.items()}, separators=(",", ":"))
        with replaced(beside) as staged:
            staged.write_bytes(gzip.compress(content.encode(), mtime=0))
        result.layers, result.layers_written = beside.name, len(layers)
    with replaced(path) as staged:
        staged.write_text(result.to_json(command) + "\n", encoding="utf-8")


def _parsed(text: str) -> Any:
    """Return what JSON says; another text as it is, for who finds it odd."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def file_of(gpu: str) -> pathlib.Path:
    """Return where the results of a GPU lie: gpu-nvidia-h200.json of "NVIDIA H200"."""
    return RESULTS / f"gpu-{re.sub(r'[^a-z0-9]+', '-', gpu.lower()).strip('-')}.json"


def code_hash() -> str:
    """Return a hash over the sources that a run depends on."""
    found = hashlib.sha256()
    for folder in CODE:
        for path in sorted(each for each in (ROOT / folder).rglob("*") if each.suffix in (".py", ".cuh")):
            found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]
