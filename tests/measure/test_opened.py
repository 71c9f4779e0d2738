"""What a user's name of a model means, and what is opened by it."""

import json
import logging
import shutil

import onnx
import pytest

from deepvit.measure.bench.subjects import subjects_of
from deepvit.measure.models import is_variant, open_model
from deepvit.measure.options import SessionOptions, WeightOptions
from deepvit.runtime.artifact import MODEL, record_file
from deepvit.runtime.errors import InputError
from deepvit.runtime.ort.session import OnnxRuntimeSession
from tests.commands.command_line import refused_here, run_here


@pytest.mark.parametrize("name", ["deepvit_32", "unknown"])  # whether there is such a variant, its table says
def test_a_plain_name_is_a_variant(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_variant(name)
    (tmp_path / name).mkdir()
    assert not is_variant(name)


@pytest.mark.parametrize("name", ["", "out/deepvit_32", "./deepvit_32", "model.onnx", "deepvit-32"])
def test_anything_else_is_a_path(name):
    assert not is_variant(name)


@pytest.fixture
def lone(tiny_artifact, tmp_path):
    """The artifact's model.onnx without its manifest."""
    return shutil.copy(tiny_artifact / MODEL, tmp_path / "lone.onnx")


def test_a_lone_model_is_opened_as_the_artifact_is(lone, tiny_artifact, caplog):
    with caplog.at_level(logging.WARNING):
        opened = open_model(str(lone), SessionOptions(), WeightOptions())
    artifact = open_model(str(tiny_artifact / MODEL), SessionOptions(), WeightOptions())
    for name in ("variant", "preprocessing", "class_names", "has_random_weights", "weights_sha256", "precision"):
        assert getattr(opened, name) == getattr(artifact, name), name
    assert (opened.manifest, artifact.manifest) == (None, artifact.identity)
    assert opened.fingerprint == record_file(lone).sha256
    said = "not verified: no manifest; preprocessing and class names by its own metadata, tiny_cnn"
    assert caplog.messages == [f"{lone}: {said}"]


def test_what_a_lone_model_says_goes_before_the_variant_that_others_need(lone):
    opened = open_model(str(lone), SessionOptions(), WeightOptions(), preprocess_as="deepvit_l_384")
    assert (opened.variant, opened.preprocessing.crop) == ("tiny_cnn", 32)


def test_a_session_is_closed_whose_preprocessing_nobody_says(tiny_artifact, tmp_path, monkeypatch):
    model = onnx.load(tiny_artifact / MODEL)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    closed = []
    monkeypatch.setattr(OnnxRuntimeSession, "close", lambda self: closed.append(self))
    with pytest.raises(InputError, match="does not say itself what it is; say how its images are preprocessed"):
        open_model(str(tmp_path / "bare.onnx"), SessionOptions(), WeightOptions())
    assert len(closed) == 1


def test_inspect_shows_what_a_lone_model_says(lone, tmp_path, capsys):
    assert run_here(["inspect", str(lone), "--json", str(tmp_path / "inspect.json")]) == 0
    said = capsys.readouterr().out
    assert f"{lone}: not verified: no manifest; this is what its own metadata say" in said
    assert "tiny_cnn, fp16, 5 classes, random weights" in said
    found = json.loads((tmp_path / "inspect.json").read_text())
    assert (found["kind"], found["artifact"], found["manifest"]) == ("inspection", str(lone), None)
    assert found["identity"]["variant"] == "tiny_cnn"
    (tmp_path / "text.onnx").write_text("hello")
    assert "damaged or not an ONNX file" in refused_here(2, ["inspect", str(tmp_path / "text.onnx")], capsys)


def test_compare_and_bench_take_a_lone_model(lone, tiny_artifact, tmp_path, capsys):
    arguments = ["compare", str(lone), "--reference", str(tiny_artifact), "--json", str(tmp_path / "compare.json")]
    assert run_here(arguments) == 0
    (model,) = json.loads((tmp_path / "compare.json").read_text())["models"]
    assert (model["precision"], model["random_weights"], model["input_max_abs"]) == ("fp16", True, 0)
    (subject,) = subjects_of([str(lone)], [], SessionOptions(), WeightOptions(), 1)
    (other,) = subjects_of([str(tiny_artifact / MODEL)], [], SessionOptions(), WeightOptions(), 1)
    assert (subject.weights_sha256, subject.random_weights) == (other.weights_sha256, True)
