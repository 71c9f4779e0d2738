"""Figure 4: damaged plans and models in artifacts, and damaged manifests: refused before anything loads them."""

import functools
import json
import pathlib
import shutil

import numpy as np

from deepvit.runtime import open_artifact, open_session
from deepvit.runtime.artifact import MANIFEST, MODEL, record_file

from ..figure import Case, Figure
from ..mutants import damaged
from ..trial import Result, run_forked, run_in_turn
from .controls import crashes, fails_internally
from .material import tiny_artifacts

PLAN = "engine.plan"
REFUSED = frozenset({2})


def artifact_with_plan(folder: pathlib.Path) -> None:
    """Write an artifact that has a plan by its manifest; its bytes are random, no library would take them."""
    tiny_artifacts(folder)
    artifact = folder / "fp16"
    (artifact / PLAN).write_bytes(np.random.default_rng(0).bytes(200_000))
    content = json.loads((artifact / MANIFEST).read_text())
    content["files"][PLAN] = record_file(artifact / PLAN).model_dump()
    content["engines"] = [
        {
            "file": PLAN,
            "backend": "tensorrt",
            "version": "11.4.0.106",
            "compute_capability": "9.0",
            "gpu": "a GPU",
            "driver": "580.0",
            "profile": {"min": 1, "opt": 8, "max": 64},
            "census": {"network": {}, "engine": {}},
        }
    ]
    (artifact / MANIFEST).write_text(json.dumps(content))


def _read(artifact: pathlib.Path, name: str) -> None:
    open_artifact(artifact).read(name)


def plan(case: Case) -> Result:
    """A plan or a model.onnx that is not what the manifest says: refused as its bytes are read."""
    artifact = case.folder / "artifact"
    shutil.copytree(case.material / "fp16", artifact)
    name = (PLAN, MODEL)[case.index % 2]
    content = (artifact / name).read_bytes()
    spoiled = damaged(content, case.random)
    (artifact / name).write_bytes(spoiled)
    allowed = frozenset({0}) if spoiled == content else REFUSED
    ended = run_in_turn(functools.partial(_read, artifact, name), case.folder / "log")
    return Result(ended.label, ended.fault(allowed))


def manifest(case: Case) -> Result:
    """A damaged manifest: refused, or another one that is sound; then what it opens gives no other logits."""
    artifact = case.folder / "artifact"
    shutil.copytree(case.material / "fp16", artifact)
    path = artifact / MANIFEST
    path.write_bytes(damaged(path.read_bytes(), case.random))
    ended = run_in_turn(functools.partial(_run, artifact), case.folder / "log")
    return Result(ended.label, ended.fault(frozenset({0, 1, 2})))


def _run(artifact: pathlib.Path) -> None:
    session = open_session(artifact / MODEL)
    session.run(np.zeros((1, 3, 32, 32), np.float32))
    session.close()


def another_plan_is_taken_for_damaged(case: Case) -> Result:
    """A control: where the check of the hash is left out, the trial's oracle says so."""
    artifact = case.folder / "artifact"
    shutil.copytree(case.material / "fp16", artifact)
    content = bytearray((artifact / PLAN).read_bytes())
    content[-1] ^= 1
    (artifact / PLAN).write_bytes(content)
    ended = run_forked((artifact / PLAN).read_bytes, case.folder / "log")
    return Result(ended.label, ended.fault(REFUSED))


FIGURES = (
    Figure(
        number="4 files",
        name="damaged plans and models of an artifact",
        count=10_000,
        trial=plan,
        controls=(another_plan_is_taken_for_damaged,),
        prepare=artifact_with_plan,
    ),
    Figure(
        number="4 manifests",
        name="damaged manifests",
        count=2_000,
        trial=manifest,
        controls=(fails_internally, crashes),
        prepare=tiny_artifacts,
    ),
)
