"""The Python model without a server: it comes up on a CPU with an artifact of every precision that it is packaged with."""

import importlib
import io
import json
import os
import sys
import types

import numpy as np
import pytest
from PIL import Image

from deepvit.export.options import ExportOptions, GraphOptions
from deepvit.export.pipeline import export_artifact
from deepvit.runtime.artifact.manifest import Precision
from deepvit.runtime.kernels.plugin_record import VARIABLE
from deepvit.runtime.opening import open_session
from deepvit.runtime.triton import layout
from deepvit.runtime.triton.options import TritonBackend
from deepvit.runtime.triton.schema import parse_config
from tests.runtime.kernels.named_plugin import write_plugin


@pytest.mark.parametrize("precision", list(Precision), ids=lambda precision: precision.value)
def test_the_model_comes_up_with_the_golden_logits(packaged, tiny_loaded, tmp_path, monkeypatch, precision):
    options = ExportOptions(graph=GraphOptions(precision=precision), output=tmp_path / "a", parity_images=2)
    export_artifact(tiny_loaded, options)
    repository = packaged(tmp_path / "a", tmp_path / "repository", backends=(TritonBackend.PYTHON,))
    bindings = types.ModuleType("triton_python_backend_utils")
    bindings.TritonModelException = RuntimeError
    monkeypatch.setitem(sys.modules, bindings.__name__, bindings)
    infer = importlib.import_module("deepvit.runtime.triton.serving.infer")
    monkeypatch.setenv(VARIABLE, "")  # so that what is set below does not outlive the test
    monkeypatch.delenv(VARIABLE)
    model = infer.TritonPythonModel()
    model.initialize({"model_repository": str(repository / "small_python"), "model_version": "1"})
    assert ("rounded" in model._session.description) == (precision is Precision.BF16)
    opened, session = [], model._session
    monkeypatch.setattr(infer, "open_session", lambda *given, device, **named: opened.append(device) or session)
    for number in ("0", "3"):
        place = {"model_repository": str(repository / "small_python"), "model_version": "1"}
        model.initialize(place | {"model_instance_kind": "GPU", "model_instance_device_id": number})
    assert opened == [0, 3]
    assert VARIABLE not in os.environ
    write_plugin(tmp_path).rename(repository / "small_python" / "1" / layout.PLUGIN)  # as it is packaged with an engine
    model.initialize(place)
    assert os.environ[VARIABLE] == str(repository / "small_python" / "1" / layout.PLUGIN)
    monkeypatch.setenv(VARIABLE, "of the server")
    model.initialize(place)
    assert os.environ[VARIABLE] == "of the server"
    model.finalize()
    monkeypatch.setattr(infer, "open_session", open_session)
    monkeypatch.setattr(infer.Golden, "fault_of", lambda self, logits: "another model")
    with pytest.raises(RuntimeError, match="another model"):
        model.initialize({"model_repository": str(repository / "small_python"), "model_version": "1"})


@pytest.fixture
def preprocess(packaged, tiny_loaded, tmp_path, monkeypatch):
    """The preprocessing model of a repository whose limit is a million pixels, without a server."""
    export_artifact(tiny_loaded, ExportOptions(output=tmp_path / "a", parity_images=2))
    repository = packaged(tmp_path / "a", tmp_path / "r", backends=(TritonBackend.PYTHON,), max_megapixels=1)
    bindings = types.ModuleType("triton_python_backend_utils")
    bindings.TritonModelException = bindings.TritonError = lambda message, *_: RuntimeError(message)
    bindings.TritonError.INVALID_ARG = 3
    bindings.InferenceResponse = lambda tensors=None, error=None: error or tensors
    bindings.get_input_tensor_by_name = lambda request, name: request[name]
    monkeypatch.setitem(sys.modules, bindings.__name__, bindings)
    module = importlib.import_module("deepvit.runtime.triton.serving.preprocess")
    monkeypatch.setattr(module, "pb", bindings)
    monkeypatch.setattr(module, "tensor_from", lambda _pb, name, array: (name, array))
    monkeypatch.setattr(module, "array_from", lambda tensor: tensor)
    model = module.TritonPythonModel()
    config = parse_config((repository / "small_preprocess" / layout.CONFIG).read_text(), "small_preprocess")
    parameters = {name: {"string_value": value.string_value} for name, value in config.parameters.items()}
    place = {"model_repository": str(repository / "small_preprocess"), "model_version": "1"}
    model.initialize(place | {"model_config": json.dumps({"parameters": parameters})})
    return model


def _encoded(form, size=(60, 50)):
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(stream, form)
    return stream.getvalue()


def _request(*images):
    rows = np.zeros((len(images), max(map(len, images))), np.uint8)
    for row, image in zip(rows, images, strict=True):
        row[: len(image)] = np.frombuffer(image, np.uint8)
    return {"image": rows}


def test_hostile_images_fail_alone(preprocess, monkeypatch):
    """Only JPEG and PNG are decoded, up to the packaged limit; whatever a decoder raises, the neighbours are answered."""
    good, large, other = _encoded("JPEG"), _encoded("PNG", (1001, 1000)), _encoded("BMP")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n"
    (answer,) = preprocess.execute([_request(good, large, other, eps, good)])
    found = dict(answer)
    assert found["status"][:, 0].tolist() == [0, 4, 4, 4, 0]
    assert np.array_equal(found["images"][0], found["images"][4])
    assert found["images"][0].any()
    (answer,) = preprocess.execute([_request(large)])
    assert "at most 1 million are decoded" in str(answer)
    convert = Image.Image.convert

    def converted(image, *given):
        if image.format == "PNG":
            raise SystemError("a decoder's own")
        return convert(image, *given)

    monkeypatch.setattr(Image.Image, "convert", converted)
    (answer,) = preprocess.execute([_request(_encoded("PNG"), good)])
    assert dict(answer)["status"][:, 0].tolist() == [4, 0]
