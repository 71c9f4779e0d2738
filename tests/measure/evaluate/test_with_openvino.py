"""The trained models evaluated in OpenVINO: every precision's accuracy, and one result however it is run."""

import dataclasses
import json

import numpy as np
import pytest

from deepvit.calibration.options import QuantizationOptions
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.images.imagenet import open_dataset
from deepvit.measure.evaluate.evaluator import Evaluator
from deepvit.measure.evaluate.options import EvaluationOptions
from deepvit.measure.models import Contestant
from deepvit.measure.torch_session import TorchSession
from deepvit.metrics.bounds import DEFAULT_MAX_DROP, FP32_BOUND, PRECISION_BOUNDS
from deepvit.runtime import crop_image, model_input, open_session
from deepvit.runtime.artifact.manifest import Precision
from tests.doubles.evaluation_stub import OneByOne, timeless
from tests.doubles.quantized_model import trained

IN_IT = (Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8)


@pytest.fixture(scope="module")
def artifacts(digits, tmp_path_factory):
    """Precision → the artifact of a trained model, as it is written for a CPU."""
    folder, loaded = tmp_path_factory.mktemp("trained"), trained("digits_cnn")
    for precision in IN_IT:
        graph = GraphOptions(precision=precision, target=Target.CPU)
        options = ExportOptions(graph=graph, imagenet=str(digits), output=folder / precision.value, parity_images=8)
        if precision is Precision.INT8:
            few = QuantizationOptions(images=64, check_images=0)
            options = dataclasses.replace(options, quantization=few)
        export_artifact(loaded, options)
    return {precision: folder / precision.value for precision in IN_IT}


def contestant(folder, wrap=lambda session: session):
    session = open_session(folder, "openvino", threads=1)
    return Contestant(
        name=folder.name, session=wrap(session), preprocessing=session.identity.preprocess, identity=folder.name
    )


def evaluate(models, dataset, reference=None, journal=None, blocks=None):
    evaluator = Evaluator(models, dataset, EvaluationOptions(batch_size=16, workers=0, journal=journal), reference)
    evaluator.run(evaluator.missing()[:blocks])
    found = None if evaluator.missing() else evaluator.results("digits")
    evaluator.close()
    return found


def test_every_precision_keeps_the_accuracy(artifacts, digits):
    module = trained("digits_cnn").module
    torch = TorchSession(module, (3, module.img_size, module.img_size))
    models = [contestant(folder) for folder in artifacts.values()]
    reference = Contestant(name="pytorch", session=torch, preprocessing=models[0].preprocessing, identity="pytorch")
    found = evaluate(models, open_dataset(str(digits), 10), reference)
    for precision, result in zip(IN_IT, found.models, strict=True):
        assert (result.model, found.evaluated) == (precision.value, 596)
        assert 100 * (result.reference.top1 - result.top1) <= DEFAULT_MAX_DROP
        bound = PRECISION_BOUNDS.get(precision, FP32_BOUND)
        assert result.reference.agreement >= (bound.top1_agreement or 0.99)


def test_fp32_is_pytorchs(artifacts, digits):
    """Which BF16, OpenVINO's own choice, is not."""
    module = trained("digits_cnn").module
    session = open_session(artifacts[Precision.FP32], "openvino")
    crops = [crop_image(path, session.identity.preprocess) for path in sorted((digits / "val").rglob("*.JPEG"))[::40]]
    images = model_input(np.stack(crops), session.identity.preprocess, 3)
    expected = TorchSession(module, (3, module.img_size, module.img_size)).run(images)
    assert np.abs(session.run(images) - expected).max() <= FP32_BOUND.max_abs
    assert np.abs(open_session(artifacts[Precision.BF16], "openvino").run(images) - expected).max() > FP32_BOUND.max_abs


def test_the_result_is_the_same_whether_runs_overlap_or_it_was_resumed(artifacts, digits, tmp_path):
    dataset, folder = open_dataset(str(digits), 10), artifacts[Precision.INT8]
    expected = _record(evaluate([contestant(folder, OneByOne)], dataset))
    assert _record(evaluate([contestant(folder)], dataset)) == expected
    for blocks in (11, None):
        found = evaluate([contestant(folder)], dataset, journal=tmp_path / "run.sqlite", blocks=blocks)
    assert _record(found) == expected


def _record(found):
    return json.dumps(timeless(found))
