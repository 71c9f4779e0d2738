"""Figure 1: damaged ONNX files, opened and run."""

import functools
import pathlib

import numpy as np

from deepvit.runtime import Arithmetic, open_session

from ..figure import Case, Figure
from ..mutants import damaged, onnx_mutant
from ..trial import DOCUMENTED, Result, run_forked, run_in_turn
from .controls import GENERAL
from .material import tiny_artifacts


def _run(path: pathlib.Path) -> None:
    session = open_session(path, arithmetic=Arithmetic.AS_DECLARED)  # reads the graph itself, where the other does not
    session.run(np.zeros((1, 3, 32, 32), np.float32))
    session.close()


def mutant(case: Case) -> Result:
    """Half of the mutants are damaged bytes, half well-formed protobufs that say something else."""
    models = sorted(case.material.glob("*/model.onnx"))
    content = case.random.choice(models).read_bytes()
    spoil = onnx_mutant if case.index % 2 else damaged
    path = case.folder / "mutant.onnx"
    path.write_bytes(spoil(content, case.random))
    ended = run_in_turn(functools.partial(_run, path), case.folder / "log")
    return Result(ended.label, ended.fault(DOCUMENTED))


def sound_models_run(case: Case) -> Result:
    """A control: what is not damaged runs, so that a trial that refuses everything would be seen."""
    faults = []
    for path in case.material.glob("*/model.onnx"):
        ended = run_forked(functools.partial(_run, path), case.folder / "log")
        faults.append(ended.fault(frozenset({0})))
    assert faults
    assert not any(faults), faults
    return Result("sound", "as it must be")


FIGURES = (
    Figure(
        number="1",
        name="damaged ONNX files: refused or run",
        count=10_000,
        trial=mutant,
        controls=(*GENERAL, sound_models_run),
        prepare=tiny_artifacts,
    ),
)
