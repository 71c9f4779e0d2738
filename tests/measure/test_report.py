"""The report in a real browser, of a run with everything and of one with almost nothing; and what it refuses."""

import dataclasses
import html
import html.parser
import json
import pathlib
import re
import shutil
import sys
import unittest.mock

import numpy as np
import pytest
from PIL import Image

import deepvit.commands.app
from deepvit.measure.report.collect import collect, read_result
from deepvit.measure.report.overview import COLUMNS, overview
from deepvit.measure.report.tiles import tiles
from deepvit.runtime.artifact.manifest import Interval
from deepvit.runtime.errors import InputError
from tests.commands.command_line import valid_result
from tests.doubles.chromium import Page

HOSTILE = '<script>alert("x")</script> $\\frac{1}{0}$ & "co"'


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A folder with two artifacts of a trained model and every kind of result, all made by the command line."""
    from examples.digits.make_dataset import write_dataset

    root = tmp_path_factory.mktemp("report")
    run, digits = root / "run", root / "digits"
    run.mkdir()
    write_dataset(digits)
    weights, data = ("--pretrained",), ("--imagenet", digits)
    few = ("--calibration-images", 64)
    models = (run / "digits_cnn-fp16", run / "digits_cnn-int8")
    for arguments in (
        ("export", "digits_cnn", "--fp16", *weights, *data, "--output", models[0]),
        ("export", "digits_cnn", "--int8", *weights, *data, *few, "--output", models[1]),
        ("eval", *models, *weights, *data, "--reference", "pytorch", "--limit", 200, "--json", run / "eval.json"),
        ("compare", *models, *weights, "--images", digits / "val", "--count", 20, "--json", run / "compare.json"),
        ("bench", *models, "--peers", "none", "--rounds", 2, "--turn", "0.02", "--json", run / "bench.json"),
        ("inspect", models[0], "--gpu", "h200", "--json", run / "inspect.json"),
        ("attention", "digits_cnn", *weights, "--count", 2, "--drawn", 1, "--output", root / "pictures",
         "--json", run / "attention.json"),
        ("sensitivity", "digits_cnn", *weights, *data, *few, "--images", 8, "--json", run / "sensitivity.json"),
    ):  # fmt: skip
        assert _run(*arguments) == 0, arguments
    kinds = {valid_result(path)["kind"] for path in run.glob("*.json")}
    assert kinds == {"evaluation", "comparison", "benchmark", "attention", "sensitivity", "inspection"}
    return run


def _run(*arguments):
    typed = [str(argument) for argument in arguments]
    with pytest.raises(SystemExit) as stopped, unittest.mock.patch.object(sys, "argv", ["deepvit", *typed]):
        deepvit.commands.app.main(typed)
    return stopped.value.code


class _Outline(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.unlabelled = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        is_picture = tag in ("img", "svg")
        if is_picture and not (given.get("alt") or given.get("aria-label")) and given.get("role") != "presentation":
            self.unlabelled.append((tag, given))


def _check(page: Page) -> str:
    document = page.document()
    assert page.requests == [], "requests"
    assert page.complaints == [], "complaints"
    outline = _Outline(page.path.read_text())
    assert "script" not in outline.tags
    assert not outline.unlabelled, "unlabelled"
    assert page.pdf().startswith(b"%PDF")
    for width, height in ((1280, 3000), (390, 3000)):
        with Image.open(page.screenshot(width, height)) as picture:
            assert picture.size == (width, height)
            pixels = np.asarray(picture.convert("L"))
            assert pixels.std() > 10
            assert (pixels[:, -3:] == pixels[0, -1]).all(), "something sticks out to the right"
    dark = np.asarray(Image.open(page.screenshot(1280, 800, "--blink-settings=preferredColorScheme=0")).convert("L"))
    assert dark.mean() < 80
    return document


def test_a_run_with_everything(everything, tmp_path):
    path = tmp_path / "page.html"
    assert _run("report", everything, "--output", path) == 0
    document = _check(Page(path, tmp_path))
    for heading in (
        "Parity ladder",
        "Quantisation",
        "Accuracy",
        "Speed",
        "Estimate for H200 SXM of digits_cnn fp16",
        "This is an estimate, not a measurement: no GPU was asked.",
        "the nearest below 9.0",
        "Sensitivity of digits_cnn to int8",
        "Attention of digits_cnn",
    ):
        assert heading in document, heading
    evaluated = json.loads((everything / "eval.json").read_text())["models"]
    for figure in (f"{evaluated[0]['top1']:.2%}", f"{evaluated[1]['reference']['sqnr_db']:.1f} dB"):
        assert figure in document
    manifest = json.loads((everything / "digits_cnn-fp16" / "manifest.json").read_text())
    assert manifest["files"]["model.onnx"]["sha256"] in document
    assert "data:image/jpeg;base64," in document
    assert "Speed on a GPU: the benchmarks ran on CPUs." in document
    assert "<h1>digits_cnn in fp16 and int8</h1>" in document
    assert (
        "From 2 artifacts, 1 evaluation, 1 comparison, 1 benchmark, 1 estimate of speed, 1 analysis of attention, "
        "1 analysis of sensitivity." in document
    )
    for batch in json.loads((everything / "inspect.json").read_text())["estimate"]["batches"]:
        assert f"{batch['estimated_images_per_s']:.0f}</td>" in document
    for name in ("eval", "compare", "bench", "inspect", "attention", "sensitivity"):
        command = json.loads((everything / f"{name}.json").read_text())["command"]
        assert f" {name} " in command, command
        assert html.escape(command, quote=False) in document, command
    assert 'alt="Attention of the class token on ' in document
    assert "<caption" not in document  # it would be as wide as its table, and cut on a phone
    assert document.index('id="models"') < document.index('id="accuracy"') < document.index('id="artifacts"')
    for anchor in re.findall(r'href="#([a-z]+)"', document):
        assert f'id="{anchor}"' in document


def test_the_first_table_is_of_all_models(everything):
    found = collect(everything)
    rows = overview(found)
    assert [row.name for row in rows] == ["digits_cnn-fp16", "digits_cnn-int8"]
    (evaluation,) = found.evaluations()
    for row, model in zip(rows, evaluation.models, strict=True):
        assert set(row.cells) == set(COLUMNS)
        assert row.cells["top-1"].text == f"{model.top1:.2%}"
        assert row.cells["verdict"].text == {"fp16": "holds", "int8": "SQNR holds"}[row.cells["precision"].text]
    best = {column: [row.name for row in rows if row.cells[column].is_best] for column in COLUMNS}
    assert best["size"] == ["digits_cnn-int8"]
    assert best["SQNR"] == ["digits_cnn-fp16"]
    assert best["verdict"] == best["precision"] == []
    shown = {tile.what: tile for tile in tiles(rows)}
    assert (shown["hold"].value, shown["hold"].note) == ("1 of 2", "1 more in part")
    assert shown["lowest SQNR of the logits"].value == rows[1].cells["SQNR"].text


def test_speeds_are_compared_where_they_are_real(everything):
    found = collect(everything)
    (benchmark,) = found.benchmarks()
    for emulated, expected in (((False, False), 1), ((True, False), 0)):  # alone, nothing is best
        models = [
            each.model_copy(update={"emulated": is_emulated})
            for each, is_emulated in zip(benchmark.models, emulated, strict=True)
        ]
        changed = dataclasses.replace(found, results=(benchmark.model_copy(update={"models": models}),))
        rows = overview(changed)
        assert sum(row.cells["latency"].is_best for row in rows) == expected
        assert [row.cells["latency"].note for row in rows] == [f"batch 1{', emulated' if e else ''}" for e in emulated]
        assert any("throughput" in tile.what for tile in tiles(rows))


def test_a_loss_beyond_chance_and_a_broken_bound_are_the_verdict(everything):
    found = collect(everything)
    (evaluation,), (comparison,) = found.evaluations(), found.comparisons()
    reference = evaluation.models[0].reference
    lost = reference.model_copy(update={"drop_fraction": 0.1, "drop_fraction_interval": Interval(low=0.05, high=0.15)})
    worse = evaluation.models[0].model_copy(update={"reference": lost})
    broken = comparison.models[1].model_copy(update={"breaches": ["it is far off"]})
    results = (
        evaluation.model_copy(update={"models": [worse, evaluation.models[1]]}),
        comparison.model_copy(update={"models": [comparison.models[0], broken]}),
    )
    rows = overview(dataclasses.replace(found, results=results))
    assert [row.cells["verdict"].text for row in rows] == ["loses accuracy", "does not hold"]
    assert next(tiles(rows)).value == "0 of 2"


def test_what_is_of_another_model_has_a_row_of_its_own(everything):
    found = collect(everything)
    (evaluation,) = found.evaluations()
    names = {"digits_cnn-fp16/model.onnx": 2, "elsewhere/digits_cnn-fp16": 3, "digits_cnn": 3}
    for name, count in names.items():
        renamed = evaluation.model_copy(update={"models": [evaluation.models[0].model_copy(update={"model": name})]})
        rows = overview(dataclasses.replace(found, results=(renamed,)))
        assert len(rows) == count, name
        assert len({row.name for row in rows}) == count, name


def test_a_run_with_almost_nothing(tiny_artifact, tmp_path):
    path = tmp_path / "page.html"
    assert _run("report", tiny_artifact, "--output", path) == 0
    document = _check(Page(path, tmp_path))
    assert "These weights are random: nothing here says anything about accuracy." in document
    for absent in ("Accuracy: no evaluation is here", "Speed: no benchmark is here", "Engines: none was built"):
        assert absent in document
    assert "top-1</span>" not in document  # no tile of what was not measured
    tile = document.partition("SQNR of the logits")[2].partition("</div>")[0]
    assert "random weights" in tile


def test_something_that_sticks_out_is_seen(tiny_artifact, tmp_path):
    """The negative control of the check of widths, of requests, of complaints and of labels."""
    path = tmp_path / "page.html"
    assert _run("report", tiny_artifact, "--output", path) == 0
    page = path.read_text()
    wide = '<div style="width:3000px;height:90px;background:#888">x</div>'
    path.write_text(page.replace("<main>", f"<main>{wide}"))
    with pytest.raises(AssertionError, match="sticks out"):
        _check(Page(path, tmp_path))
    path.write_text(page.replace("<main>", "<main><img src='data:,x'>"))
    with pytest.raises(AssertionError, match="unlabelled"):
        _check(Page(path, tmp_path))
    without_policy = page.replace("default-src 'none'; img-src data:; style-src 'unsafe-inline'", "")
    path.write_text(without_policy.replace("<main>", "<main><img alt='x' src='http://example.org/x.png'>"))
    with pytest.raises(AssertionError, match="requests"):
        _check(Page(path, tmp_path))
    path.write_text(page.replace("<main>", "<main><script>nothing.there()</script>"))
    with pytest.raises(AssertionError, match="complaints"):
        _check(Page(path, tmp_path))


def test_names_of_users_are_text(everything, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("eval", "compare", "bench", "attention"):
        content = json.loads((everything / f"{name}.json").read_text())
        if "class_names" in content:
            content["class_names"] = [f"{HOSTILE} {label}" for label in range(10)]
        for model in content.get("models", [content]):
            model["model"] = HOSTILE
            for image in model.get("worst", []):
                image["name"] = HOSTILE
        if "baseline" in content:
            content["models"], content["baseline"] = content["models"][:1], HOSTILE
        (run / f"{name}.json").write_text(json.dumps(content))
    assert _run("report", run, "--title", HOSTILE) == 0
    path = tmp_path / "run-report.html"
    assert "<script>" not in path.read_text()
    assert HOSTILE.split("$")[1] in path.read_text()
    classes = re.findall(r"<td>.*? (\d)</td>|<span>[^<]*? (\d), ", path.read_text())
    assert {first or second for first, second in classes} == set("0123456789")
    _check(Page(path, tmp_path))


def test_what_is_no_result_is_named(everything, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(everything / "digits_cnn-int8", run / "digits_cnn-int8")
    for name, text in {
        "other.json": "{}", "broken.json": "{", "old.json": '{"kind": "benchmark"}', "several.json": '[{"kind": "evaluation"}]', "later.json": '{"kind": "benchmark", "schema": 2}',
        "lacking.json": '{"kind": "benchmark", "schema": 1}', "numbers.json": "[1, 2]",
        "deep.json": "[" * 5000 + "]" * 5000, "infinite.json": '{"kind": "benchmark", "rounds": 1e999}',
        "flat.json": json.dumps(json.loads((everything / "attention.json").read_text()) | {"features": [[1.0]]}),
        "empty.json": json.dumps(json.loads((everything / "bench.json").read_text()) | {"models": []}),
        "plain.json": json.dumps(json.loads((everything / "inspect.json").read_text()) | {"estimate": None}),
    }.items():  # fmt: skip
        (run / name).write_text(text)
    assert _run("report", run) == 0
    said = capsys.readouterr().err
    for name, why in (
        ("other.json", "is no result"), ("broken.json", "is not JSON"), ("numbers.json", "is no result"),
        ("plain.json", "is an inspection without an estimate"),
        ("infinite.json", "is not JSON"), ("flat.json", "is no attention"), ("empty.json", "is no benchmark"),
        ("old.json", "is the benchmark of another version of this tool; run the command that wrote it again"),
        ("several.json", "is the evaluation of another version of this tool; run the command that wrote it again"),
        ("later.json", "is the benchmark of another version"), ("lacking.json", "is no benchmark that this version writes"), ("deep.json", "is not JSON"),
    ):  # fmt: skip
        is_other = why in ("is no result", "is an inspection without an estimate")
        line = f"not shown: {name} " if not is_other else "not shown, no results for a report: "
        assert any(each.startswith(line) and (why in each or name in each) for each in said.splitlines()), name
        with pytest.raises(InputError, match=why):
            read_result(run / name)
    found = collect(run)
    assert [len(found.artifacts), len(found.results), len(found.others), len(found.broken)] == [1, 0, 3, 9]
    assert len([line for line in said.splitlines() if line.startswith("not shown")]) == 10
    assert not any(str(run) in line for line in said.splitlines() if line.startswith("not shown"))


def test_refusals(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, says in (
        ((tmp_path / "nothing",), "is not a folder"),
        ((empty,), "nothing to report"),
        ((empty, "--with", tmp_path / "no.json"), "no.json cannot be read"),
        ((empty, "--output", tmp_path / "no" / "page.html"), "cannot be written"),
    ):
        assert _run("report", *arguments) == 2
        assert says in capsys.readouterr().err
    assert list(pathlib.Path(tmp_path).glob("*.html")) == []
