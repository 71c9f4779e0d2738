"""The Python model without a server: it comes up on a CPU with an artifact of every precision that it is packaged with."""

import importlib
import sys
import types

import pytest

from deepvit.export.options import ExportOptions, GraphOptions
from deepvit.export.pipeline import export_artifact
from deepvit.runtime.manifest import Precision
from deepvit.runtime.triton.options import TritonBackend


@pytest.mark.parametrize("precision", list(Precision), ids=lambda precision: precision.value)
def test_the_model_comes_up_with_the_golden_logits(packaged, tiny_loaded, tmp_path, monkeypatch, precision):
    options = ExportOptions(graph=GraphOptions(precision=precision), output=tmp_path / "a", parity_images=2)
    export_artifact(tiny_loaded, options)
    repository = packaged(tmp_path / "a", tmp_path / "repository", backends=(TritonBackend.PYTHON,))
    bindings = types.ModuleType("triton_python_backend_utils")
    bindings.TritonModelException = RuntimeError
    monkeypatch.setitem(sys.modules, bindings.__name__, bindings)
    infer = importlib.import_module("deepvit.runtime.triton.serving.infer")
    model = infer.TritonPythonModel()
    model.initialize({"model_repository": str(repository / "small_python"), "model_version": "1"})
    assert ("rounded" in model._session.description) == (precision is Precision.BF16)
    model.finalize()
    monkeypatch.setattr(infer.Golden, "fault_of", lambda self, logits: "another model")
    with pytest.raises(RuntimeError, match="another model"):
        model.initialize({"model_repository": str(repository / "small_python"), "model_version": "1"})
