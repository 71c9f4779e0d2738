"""The rules of version and compute capability, by the cases that the C++ runtime is held to as well."""

import json

import pytest

from deepvit.runtime.artifact.manifest import Backend, Engine
from deepvit.runtime.trt.fit import misfits
from deepvit.runtime.trt.machine import Machine
from tests.places import ROOT

TABLE = json.loads((ROOT / "runtime" / "cpp" / "tests" / "data" / "engine_fit_cases.json").read_text())
REST = {"file": "engine.plan", "gpu": None, "profile": {"min": 1, "opt": 4, "max": 8}, "census": {"network": {}}}
KINDS = {"does not load in": "version", "compute capability": "capability"}  # what the line says → what keeps it


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["name"])
def test_every_case_of_the_table(case):
    record = REST | TABLE["engine"] | case.get("engine", {})
    machine = TABLE["machine"] | case.get("machine", {})
    versions = {Backend(name): version for name, version in machine.pop("versions").items()}
    faults = misfits(Engine.model_validate_json(json.dumps(record)), Machine(versions=versions, **machine))
    kinds = [[kind for words, kind in KINDS.items() if words in fault] for fault in faults]
    assert kinds == [[kind] for kind in case["misfits"]], faults


def test_names_are_unique_and_both_answers_are_there():
    names = [case["name"] for case in TABLE["cases"]]
    assert len(set(names)) == len(names)
    assert sum(case["misfits"] == [] for case in TABLE["cases"]) >= 15
    assert {kind for case in TABLE["cases"] for kind in case["misfits"]} == set(KINDS.values())
