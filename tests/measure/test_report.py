"""The report in a real browser, of a run with everything and of one with almost nothing; and what it refuses."""

import html.parser
import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

import deepvit.commands.app
from deepvit.measure.report.collect import collect, read_result
from deepvit.runtime.errors import InputError
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
        ("attention", "digits_cnn", *weights, "--count", 2, "--drawn", 0, "--output", root / "pictures",
         "--json", run / "attention.json"),
        ("sensitivity", "digits_cnn", *weights, *data, *few, "--images", 8, "--json", run / "sensitivity.json"),
    ):  # fmt: skip
        assert _run(*arguments) == 0, arguments
    return run


def _run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        deepvit.commands.app.main([str(argument) for argument in arguments])
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
        "Sensitivity to int8",
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
    }.items():  # fmt: skip
        (run / name).write_text(text)
    assert _run("report", run) == 0
    said = capsys.readouterr().err
    for name, why in (
        ("other.json", "is no result"), ("broken.json", "is not JSON"), ("numbers.json", "is no result"),
        ("infinite.json", "is not JSON"), ("flat.json", "is no attention"), ("empty.json", "is no benchmark"),
        ("old.json", "is the benchmark of another version of this tool; run the command that wrote it again"),
        ("several.json", "is the evaluation of another version of this tool; run the command that wrote it again"),
        ("later.json", "is the benchmark of another version"), ("lacking.json", "is no benchmark that this version writes"), ("deep.json", "deep.json is"),
    ):  # fmt: skip
        assert any(line.startswith(f"not shown: {name}: ") and why in line for line in said.splitlines()), name
        with pytest.raises(InputError, match=why):
            read_result(run / name)
    found = collect(run)
    assert ([len(found.artifacts), len(found.results), len(found.ignored)]) == [1, 0, 11]


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
