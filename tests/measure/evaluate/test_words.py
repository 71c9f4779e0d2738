"""An evaluation in words: one table of classes for all models, speeds of an emulation marked, 80 columns."""

import json

import pytest

from deepvit.measure.evaluate.result import Evaluation
from deepvit.measure.evaluate.words import describe_classes, describe_evaluation
from tests.doubles.terminal_page import rendered, tables
from tests.places import ROOT


@pytest.fixture
def content():
    """A pass over the digits with three models, two of them emulated."""
    return json.loads((ROOT / "tests" / "measure" / "evaluate" / "evaluation.json").read_text())


def _found(content, count=3):
    return Evaluation.model_validate(content | {"models": content["models"][:count]})


def test_a_speed_of_an_emulation_is_marked_wherever_it_stands(content):
    lines = list(describe_evaluation(_found(content)))
    speeds = [line for line in lines if isinstance(line, str) and line.startswith("speed ")]
    assert ["emulated: " in speed for speed in speeds] == [False, True, True]
    assert all("images/s" in speed for speed in speeds)
    assert "emulated ones among them" in speeds[0]  # with decoding: of all models in one pass
    rows = tables(lines).splitlines()
    assert [row.split()[-1] for row in rows[2:]] == ["emulated", "emulated"]
    assert float(rows[1].split()[-1]) > 0
    plain = list(describe_evaluation(_found(content, 1)))
    assert not any("emulated" in line for line in plain)


def test_the_table_fits_a_terminal(content):
    for place, name in enumerate(("deepvit_l_384-int8", "deepvit_l_384-bf16", "deepvit_l_384-fp16")):
        content["models"][place]["model"] = f"somewhere/deep/{name}"
    text = tables(describe_evaluation(_found(content)))
    assert max(map(len, text.splitlines())) <= 80
    assert [line.split()[0] for line in text.splitlines()[1:]] == [
        "deepvit_l_384-int8", "deepvit_l_384-bf16", "deepvit_l_384-fp16",
    ]  # fmt: skip


def test_classes_of_several_models_are_one_table(content):
    content["models"][2]["per_class"][7]["top1"] = 0.25  # planted: the last model fails on sevens
    content["class_names"] = [f"digit {i}" for i in range(10)]
    found = _found(content)
    lines = list(describe_classes(found))
    assert sum(not isinstance(line, str) for line in lines) == 1
    text = rendered(lines)
    table = tables(lines).splitlines()
    names = [model.model for model in found.models]
    assert all(name in text for name in names)
    assert len(table) == 11
    assert table[1].startswith("digit 7")  # the worst of any model first
    assert "25.0%" in table[1]
    assert max(map(len, table)) <= 80
    alone = tables(describe_classes(_found(content, 1))).splitlines()
    assert alone[0].split() == ["class", "images", "top-1", "top-5", "reference", "change"]


@pytest.mark.parametrize("count", [2, 6])
def test_every_column_of_classes_has_its_models_name(content, count):
    (model,) = content["models"][:1]
    content["models"] = [model | {"model": f"runs/digits_patch-{place}"} for place in range(count)]
    text = rendered(describe_classes(_found(content, count)))
    assert [text.count(f"digits_patch-{place}") for place in range(count)] == [1] * count
    assert max(map(len, text.splitlines())) <= 80
