"""The C++ runtime's program for the terminal gives, in OpenVINO, the classes that Python gives in ONNX Runtime."""

import importlib.util
import json
import pathlib
import subprocess

import numpy as np
import pytest

from deepvit.runtime import Arithmetic, crop_image, open_session
from deepvit.runtime.artifact.manifest import Precision
from tests.places import ROOT

IMAGES = 300
FLIPS = 3  # of 300: what BF16 may change of a trained model's classes, in whatever it is multiplied
CLASSIFY = ROOT / "build" / "cpp" / "deepvit-classify"


@pytest.fixture
def classify():
    """A function: runs the program in OpenVINO, of which `library` is the file, and returns how it ended."""
    if not CLASSIFY.is_file():
        pytest.skip(f"{CLASSIFY} was not built: make cpp")
    package = importlib.util.find_spec("openvino")
    assert package is not None
    assert package.origin is not None
    (installed,) = (pathlib.Path(package.origin).parent / "libs").glob("libopenvino_c.so.*")

    def run(artifact, *images, library=installed):
        command = [CLASSIFY, "--backend", "openvino", "--openvino", library, "--threads", "1", "--json", artifact]
        return subprocess.run([*command, *images], capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Precision → an artifact of the trained CNN-stem model."""
    from deepvit.export.options import ExportOptions, GraphOptions, Target
    from deepvit.export.pipeline import export_artifact
    from deepvit.model.load import load_model

    folder, loaded = tmp_path_factory.mktemp("trained"), load_model("digits_cnn", pretrained=True)
    for precision in (Precision.FP32, Precision.BF16):
        graph = GraphOptions(precision=precision, target=Target.ONNX)
        export_artifact(loaded, ExportOptions(graph=graph, output=folder / precision.value, parity_images=2))
    return folder


@pytest.mark.parametrize(("precision", "flips"), [(Precision.FP32, 0), (Precision.BF16, FLIPS)])
def test_classes_are_those_of_python(precision, flips, trained, classify, digits):
    images = sorted((digits / "val").rglob("*.JPEG"))[:IMAGES]
    assert len(images) == IMAGES
    ended = classify(trained / precision.value, *images)
    assert ended.returncode == 0, ended.stderr
    found = np.array([json.loads(line)["logits"] for line in ended.stdout.splitlines()])
    session = open_session(trained / "fp32", "cpu", arithmetic=Arithmetic.NATIVE, threads=1)
    preprocessing = session.identity.preprocess
    crops = np.stack([crop_image(image, preprocessing) for image in images])
    expected = session.run(session.identity.input_from(crops))
    assert (found.argmax(1) != expected.argmax(1)).sum() <= flips


def test_a_library_that_is_not_here_is_what_the_machine_lacks(classify, trained, tmp_path, photographs):
    ended = classify(trained / "fp32", photographs[0], library=tmp_path / "libopenvino_c.so")
    assert ended.returncode == 3
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1
    assert "name it in options.openvino_library" in ended.stderr
