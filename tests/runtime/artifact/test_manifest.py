"""The manifest: what is valid, by the table that C++ is held to as well; what earlier versions wrote; one line of fault."""

import copy
import json
import pathlib

import pytest

from deepvit.runtime.artifact.manifest import AccuracyCheck, BatchRange, Engine, parse_manifest
from deepvit.runtime.errors import InputError
from tests.places import ROOT

TABLE = json.loads((ROOT / "runtime" / "cpp" / "tests" / "data" / "manifest_cases.json").read_text())


def _parent(manifest, pointer):
    """Return what holds the place of a JSON pointer, and the key there."""
    *parts, last = pointer.split("/")[1:]
    for part in parts:
        manifest = manifest[int(part) if isinstance(manifest, list) else part]
    return manifest, int(last) if isinstance(manifest, list) else last


def _text(case):
    if "raw" in case:
        return case["raw"] * case.get("times", 1)
    manifest = copy.deepcopy(TABLE["manifest"])
    for pointer, value in case.get("set", {}).items():
        holder, key = _parent(manifest, pointer)
        holder[key] = value
    for pointer in case.get("remove", []):
        holder, key = _parent(manifest, pointer)
        del holder[key]
    text = json.dumps(manifest, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    before, after = case.get("text", ("", ""))
    assert before in text
    return text.replace(before, after, 1)


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["name"])
def test_every_case_of_the_table(case):
    text = _text(case).encode()
    if case["accepted"]:
        manifest = parse_manifest(pathlib.Path("manifest.json"), text)
        assert parse_manifest(pathlib.Path("manifest.json"), manifest.to_json().encode()) == manifest
        return
    with pytest.raises(InputError, match="^manifest.json is not a valid manifest") as caught:
        parse_manifest(pathlib.Path("manifest.json"), text)
    assert "\n" not in str(caught.value)


def test_the_table_has_enough_of_both():
    accepted = [case["accepted"] for case in TABLE["cases"]]
    assert (accepted.count(True), accepted.count(False)) >= (15, 100)


def test_an_engine_without_a_plugin_is_written_as_before_there_were_any():
    """So that an earlier version, which takes no field that it does not know, goes on reading it."""
    (engine,) = TABLE["manifest"]["engines"]
    assert "plugin" not in Engine.model_validate(engine).model_dump(mode="json")
    plugin = {"sha256": "0" * 64, "kernels_sha256": "1" * 64, "layer": "deepvit::ReAttention/1"}
    assert Engine.model_validate(engine | {"plugin": plugin}).model_dump(mode="json")["plugin"] == plugin


def test_a_check_of_an_earlier_version_is_read_as_fractions():
    """It had percent and points, and no unit; read and written again, it has fractions and says so."""
    interval = {"low": 98.0, "high": 100.0}
    earlier = {"images": 200, "list_sha256": "0" * 64, "split": "val", "agreement": 99.5, "agreement_interval": interval,
               "reference_top1": 81.0, "top1": 80.75, "drop": 0.25, "drop_interval": {"low": -1.0, "high": 1.5},
               "mcnemar_p": 0.5}  # fmt: skip
    check = AccuracyCheck.model_validate(earlier)
    assert (check.agreement, check.top1, check.drop, check.mcnemar_p, check.images) == (0.995, 0.8075, 0.0025, 0.5, 200)
    assert (check.agreement_interval.low, check.drop_interval.high) == (0.98, 0.015)
    assert AccuracyCheck.model_validate(check.model_dump(mode="json")) == check


@pytest.mark.parametrize(
    ("batch", "steps"),
    [
        ("1:8:64", [1, 2, 4, 8, 16, 32, 64]),
        ("1:6:12", [1, 2, 4, 6, 8, 12]),
        ("3:8:8", [4, 8]),
        ("5:5:5", [5]),
    ],
)
def test_few_batch_sizes_stand_for_all(batch, steps):
    least, opt, most = map(int, batch.split(":"))
    assert BatchRange(min=least, opt=opt, max=most).steps == steps
