"""What commands write as JSON: one shape for one model and several, fractions, rounded, as the published schemas say."""

import json
import math

import jsonschema
import pytest

from deepvit.measure.evaluate.result import Evaluation
from deepvit.measure.results.__main__ import main as write_schemas
from deepvit.measure.results.kinds import KINDS, schema_text
from deepvit.metrics.result import Result, rounded, rounded_number
from deepvit.model.variants import VARIANTS
from tests.commands.command_line import run_here, valid_result
from tests.places import ROOT

SCHEMAS = ROOT / "docs" / "schemas"


def written(arguments, path, code=0):
    """What a command writes with --json, valid."""
    assert run_here([*map(str, arguments), "--json", str(path)]) == code
    return valid_result(path)


def numbers(value):
    """Every number that is no count, in whatever it lies."""
    if isinstance(value, float):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from numbers(each)


def test_the_published_schemas_are_those_of_the_code(tmp_path):
    assert write_schemas([str(tmp_path)]) == 0
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in SCHEMAS.glob("*.json")}
    assert made.keys() == {f"{kind}.json" for kind in KINDS}
    for text in made.values():
        jsonschema.Draft202012Validator.check_schema(json.loads(text))
    assert write_schemas([]) == 2


def test_every_result_is_of_a_kind():
    pending, found = [Result], set()
    while pending:
        pending += (derived := pending.pop().__subclasses__())
        found |= {each for each in derived if "kind" in each.__annotations__ and each.__module__.startswith("deepvit.")}
    assert found == set(KINDS.values())


def test_what_commands_write_of_an_artifact(tiny_artifact, tmp_path):
    data, few = tmp_path / "data", ["--rounds", "1", "--turn", "0.01", "--batch-sizes", "1"]
    _labelled_images(data)
    inspected = written(["inspect", tiny_artifact], tmp_path / "inspection.json")
    manifest = json.loads((tiny_artifact / "manifest.json").read_text())
    assert inspected["manifest"] == manifest  # to the last digit: the golden logits are compared with
    assert inspected["artifact"] == str(tiny_artifact)
    benchmark = written(["bench", tiny_artifact, "--peers", "none", *few], tmp_path / "benchmark.json")
    one = written(["eval", tiny_artifact, "--imagenet", data], tmp_path / "one.json")
    both = written(["eval", tiny_artifact, tiny_artifact / "model.onnx", "--imagenet", data], tmp_path / "both.json")
    assert (len(one["models"]), len(both["models"])) == (1, 2)
    assert one.keys() == both.keys()
    assert all(0 <= each["top1"] <= each["top5"] <= 1 for each in both["models"])
    compared = written(
        ["compare", tiny_artifact, tiny_artifact / "model.onnx", "--reference", tiny_artifact, "--count", 4],
        tmp_path / "comparison.json",
    )
    assert [each["stages"][0]["top1_agreement"] for each in compared["models"]] == [1, 1]
    packaged = written(["package", tiny_artifact, "--triton", tmp_path / "repository"], tmp_path / "package.json")
    for found in (benchmark, one, both, compared, packaged):
        assert all(value == rounded_number(value) for value in numbers(found))


def _labelled_images(root):
    from PIL import Image

    for label in range(5):
        (root / "val" / str(label)).mkdir(parents=True)
        Image.new("RGB", (40, 40), (50 * label, 0, 0)).save(root / "val" / str(label) / "a.png")


def test_what_commands_write_of_the_machine_and_the_variants(tmp_path):
    found = written(["doctor"], tmp_path / "doctor.json")
    assert {each["ability"]: each["works"] for each in found["abilities"]}["run ONNX models on the CPU"]
    rows = written(["models"], tmp_path / "variants.json")["variants"]
    assert [row["name"] for row in rows] == list(VARIANTS)
    published = {row["name"]: row["published_top1"] for row in rows}
    assert published["deepvit_32"] == pytest.approx(VARIANTS["deepvit_32"].top1 / 100)
    assert published["digits_cnn"] is None


def test_the_committed_results_are_valid():
    kinds = [
        valid_result(path)["kind"] for path in (ROOT / "benchmarks" / "results").glob("*-*.json") if _is_result(path)
    ]
    assert sorted(kinds) == ["benchmark", "benchmark"]


def _is_result(path):
    return "kind" in json.loads(path.read_text())


def test_numbers_are_rounded_once_and_percent_is_no_fraction():
    assert rounded_number(99.99999999999999) == 100
    assert math.copysign(1, rounded_number(-0.0)) == 1
    assert rounded_number(0.98825503) == 0.988255
    assert rounded({"a": [2.2000000001e-7, 3, "x", None, True]}) == {"a": [2.2e-7, 3, "x", None, True]}
    content = json.loads((ROOT / "tests" / "measure" / "evaluate" / "evaluation.json").read_text())
    Evaluation.model_validate(content)
    content["models"][0]["top1"] *= 100  # planted: percent
    with pytest.raises(ValueError, match="less than or equal to 1"):
        Evaluation.model_validate(content)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, json.loads(schema_text("evaluation")))


def test_names_that_are_no_utf8_are_written_as_escapes():
    name = b"a\xff.png".decode(errors="surrogateescape")
    content = json.loads((ROOT / "tests" / "measure" / "evaluate" / "evaluation.json").read_text())
    found = Evaluation.model_validate(content | {"dataset": name})
    text = found.to_json()
    text.encode()
    assert json.loads(text)["dataset"] == name
