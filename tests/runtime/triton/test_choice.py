"""Every form × package: what Triton's ONNX Runtime backend is given comes up and answers right in a session like its own."""

import dataclasses

import numpy as np
import pytest

from deepvit.runtime.artifact import Artifact, open_artifact
from deepvit.runtime.artifact.manifest import Level
from deepvit.runtime.cpp.tests.data import make_test_data
from deepvit.runtime.errors import InputError
from deepvit.runtime.opening import open_session
from deepvit.runtime.ort.plain import plain_answers, probe_plain
from deepvit.runtime.session.tensors import sqnr_db
from deepvit.runtime.triton import choice, layout
from deepvit.runtime.triton.options import TritonBackend
from deepvit.runtime.triton.schema import parse_config
from deepvit.runtime.triton.serving.golden import Golden

# What onnxruntime_backend's ModelState makes of optimization.graph.level (src/onnxruntime.cc).
TRITON_LEVELS = {0: Level.ALL, -1: Level.BASIC, 1: Level.EXTENDED, 2: Level.DISABLE}


@pytest.fixture(scope="module")
def artifacts(cpp_data):
    """A function: form → its artifact of the small model."""
    return lambda form: open_artifact(cpp_data / "artifacts" / form)


@pytest.mark.parametrize("form", [*(form for form in make_test_data.FORMS if form != "bf16"), "fusable"])
def test_what_is_packaged_comes_up_and_answers_right(artifacts, packaged, tmp_path, form):
    artifact = artifacts(form)
    repository = packaged(artifact.folder, tmp_path / "repository")
    model = repository / "small_onnxruntime"
    config = parse_config((model / layout.CONFIG).read_text(), form)
    level = TRITON_LEVELS[config.optimization.graph.level]
    golden = Golden.load(repository / "small_python" / "1" / layout.GOLDEN)
    ((_, answer),) = plain_answers((model / "1" / "model.onnx").read_bytes(), golden.images, [level])
    assert golden.fault_of(answer) == ""
    steps = parse_config((repository / "small" / layout.CONFIG).read_text(), form).ensemble_scheduling.step
    assert steps[1].model_name == "small_onnxruntime"


@pytest.mark.parametrize("form", make_test_data.FORMS)
def test_export_says_at_which_levels_a_plain_session_is_right(artifacts, form):
    refused = {"bf16": tuple(Level), "fp8-attention": (Level.EXTENDED, Level.LAYOUT, Level.ALL)}.get(form, ())
    plain = artifacts(form).manifest.plain
    assert plain.refused == refused
    assert plain.wrong == ()
    assert plain.right == tuple(level for level in Level if level not in refused)


def test_bf16_without_an_engine_is_refused_and_python_serves_it_on_demand(artifacts, packaged, tmp_path):
    folder = artifacts("bf16").folder
    with pytest.raises(InputError, match="computes in BF16, which nothing in Triton does on a CPU: export"):
        packaged(folder, tmp_path / "r")
    with pytest.raises(InputError, match=r"‹backends› onnxruntime: .* does not compute in BF16 on a CPU"):
        packaged(folder, tmp_path / "r", backends=(TritonBackend.ONNXRUNTIME,))
    assert not (tmp_path / "r").exists()
    packaged(folder, tmp_path / "r", backends=(TritonBackend.PYTHON,))


def test_bf16_with_an_engine_is_packaged_for_the_gpu(artifacts, monkeypatch):
    artifact = artifacts("bf16")
    engine = dataclasses.make_dataclass("Engine", ["backend", "weight_stripped", "plugin"])(
        choice.Backend.TENSORRT, False, None
    )
    manifest = artifact.manifest.model_copy(update={"engines": (engine,)})
    golden = Golden(manifest.golden_input, np.zeros((1, 5), np.float32), 20.0)
    chosen = choice.choose_backends(Artifact(artifact.folder, manifest), golden, None)
    assert chosen.backends == (TritonBackend.TENSORRT, TritonBackend.PYTHON)


def test_a_graph_that_answers_wrongly_is_not_packaged(artifacts, caplog):
    artifact = artifacts("small")
    images = artifact.manifest.golden_input
    ((_, logits),) = plain_answers(artifact.read("model.onnx"), images, [Level.ALL])
    golden = Golden(images, -logits, 45.0)
    assert choice.choose_backends(artifact, golden, None).backends == (TritonBackend.PYTHON,)
    assert "not packaged for Triton's ONNX Runtime: ONNX Runtime" in caplog.text
    assert "answers wrongly at the level all" in caplog.text
    with pytest.raises(InputError, match="answers wrongly at the level all, which is all that Triton can tell it"):
        choice.choose_backends(artifact, golden, (TritonBackend.ONNXRUNTIME,))


def test_weight_only_as_it_was_written_before_is_seen_as_wrong(artifacts):
    """The negative control of all that holds weight-only graphs: axis 1, and no option at EXTENDED."""
    artifact = artifacts("fusable")
    golden, images = artifact.manifest.golden, artifact.manifest.golden_input
    expected = np.asarray(golden.logits)
    tried = probe_plain(artifact.read("model.onnx"), images, expected, golden.sqnr_db)
    assert tried.wrong == (Level.EXTENDED, Level.LAYOUT)
    answers = dict(plain_answers(artifact.read("model.onnx"), images))
    assert sqnr_db(answers[Level.BASIC][0], expected) > sqnr_db(answers[Level.ALL][0], expected) + 3
    served = open_session(artifact.folder, threads=1).run(images)[0]
    assert sqnr_db(served, answers[Level.DISABLE][0]) > 60
