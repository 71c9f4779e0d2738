"""A graph runs as it is, or rounded to its declared types where that is asked for; nothing in between."""

import numpy as np
import pytest

import deepvit.runtime.ort.graph as ort_graph
from deepvit.measure.options import SessionOptions
from deepvit.runtime import Arithmetic
from deepvit.runtime.artifact import MODEL, open_artifact
from deepvit.runtime.artifact.manifest import GOLDEN_SQNR_DB, Precision
from deepvit.runtime.errors import MissingError
from deepvit.runtime.opening import open_session
from deepvit.runtime.triton.serving.golden import Golden
from tests.doubles.tiny_models import pixels

BF16_REFUSED = r"model\.onnx computes in BF16, which ONNX Runtime's CPU provider does not: export with ‹fp16› or ‹fp32›"


@pytest.fixture
def folders(artifacts_by_precision):
    return artifacts_by_precision


@pytest.fixture
def images():
    return (pixels((4, 3, 32, 32)) / 127.5 - 1).astype(np.float32)


@pytest.fixture
def loaded(monkeypatch):
    """What is handed to ONNX Runtime, graph by graph."""
    contents, session = [], ort_graph.ort.InferenceSession

    def load(content, *rest, **options):
        contents.append(content)
        return session(content, *rest, **options)

    monkeypatch.setattr(ort_graph.ort, "InferenceSession", load)
    return contents


@pytest.mark.parametrize("precision", [p for p in Precision if p is not Precision.BF16], ids=lambda p: p.value)
def test_natively_the_very_bytes_of_the_file_run(folders, images, loaded, precision):
    session = open_session(folders[precision], "cpu")
    assert loaded == [(folders[precision] / MODEL).read_bytes()]
    assert "rounded" not in session.description
    assert np.isfinite(session.run(images)).all()


@pytest.mark.parametrize("precision", list(Precision), ids=lambda p: p.value)
def test_as_declared_every_reduced_tensor_is_rounded(folders, images, loaded, precision):
    session = open_session(folders[precision], arithmetic=Arithmetic.AS_DECLARED)
    is_reduced = precision is not Precision.FP32
    assert (loaded != [(folders[precision] / MODEL).read_bytes()]) == is_reduced
    assert ("every tensor rounded to its declared type" in session.description) == is_reduced
    logits = session.run(images)
    if precision is Precision.FP16:
        assert np.array_equal(logits, logits.astype(np.float16))
        assert not np.array_equal(logits, open_session(folders[precision], "cpu").run(images))


def test_nothing_is_rounded_unasked(folders, monkeypatch):
    def refuse(_content):
        raise AssertionError("rounded")

    monkeypatch.setattr(ort_graph, "rounded_on_cpu", refuse)
    open_session(folders[Precision.FP16])
    with pytest.raises(AssertionError, match="rounded"):
        open_session(folders[Precision.FP16], arithmetic=Arithmetic.AS_DECLARED)
    with pytest.raises(AssertionError, match="rounded"):
        SessionOptions().open(folders[Precision.FP16])  # what measures asks for it


def test_bf16_on_a_cpu_says_what_to_do(folders, images):
    with pytest.raises(MissingError, match=BF16_REFUSED) as caught:
        open_session(folders[Precision.BF16], "cpu")
    assert "\n" not in str(caught.value)
    assert "Arithmetic.AS_DECLARED" in str(caught.value)
    assert open_session(folders[Precision.BF16], arithmetic=Arithmetic.AS_DECLARED).run(images).shape == (4, 5)


@pytest.mark.parametrize("precision", [p for p in Precision if p is not Precision.BF16], ids=lambda p: p.value)
def test_what_is_served_natively_gives_the_golden_logits(folders, images, precision):
    """Golden logits are those of the declared types; a server runs the graph as it is."""
    artifact = open_artifact(folders[precision])
    declared = open_session(artifact.folder / MODEL, arithmetic=Arithmetic.AS_DECLARED).run(images[:1])
    golden = Golden(images[:1], declared, GOLDEN_SQNR_DB[precision])
    session = open_session(artifact.folder)
    assert golden.fault_of(session.run(images[:1])) == ""
    assert "dB from those that it was packaged with" in golden.fault_of(session.run(images[1:2]))
