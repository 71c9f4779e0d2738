"""Scores against a count by hand; what is not scored is counted and named; nothing depends on how the pass is cut."""

import dataclasses
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deepvit.images.imagenet import open_dataset
from deepvit.images.real_labels import read_real_labels
from deepvit.measure.evaluate.evaluator import Evaluator
from deepvit.measure.evaluate.options import EvaluationOptions, Keeping, Shards
from deepvit.measure.evaluate.run_files import options_with_files
from deepvit.measure.evaluate.shards import run_shards
from deepvit.runtime.artifact.manifest import BatchRange
from deepvit.runtime.errors import InputError, MissingError, OutOfBoundsError
from deepvit.runtime.session.tensors import check_logits
from tests.doubles.evaluation_stub import (
    CLASSES,
    SMALLER,
    FailingOpener,
    StubOpener,
    TellingOpener,
    contestant,
    timeless,
)
from tests.places import ROOT


@pytest.fixture
def dataset(tmp_path):
    for label in range(CLASSES):
        for copy in range(3):
            path = tmp_path / "val" / str(label) / f"{copy}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            red = label if copy else (label + 1) % CLASSES  # one image in three looks like its neighbour
            Image.new("RGB", (6, 6), (red, 0, 0)).save(path)
    return tmp_path


def _results(dataset, models, reference=None, **options):
    options = EvaluationOptions(**{"batch_size": 7, "workers": 0} | options)
    evaluator = Evaluator(models, open_dataset(str(dataset), CLASSES), options, reference)
    evaluator.run(evaluator.missing())
    return evaluator.results("d")


def _result(dataset, model=None, reference=None, **options):
    return _results(dataset, [model or contestant()], reference, **options).models[0]


def test_accuracy_and_agreement(dataset):
    found = _results(dataset, [contestant()], contestant(shift=1))
    assert (found.listed, found.evaluated) == (30, 30)
    (result,) = found.models
    assert result.top1 == pytest.approx(20 / 30)
    found = result.reference
    assert (found.agreement, found.lost, found.gained, found.changed) == (0, 0, 20, 10)
    assert found.top1 == 0
    assert found.drop_fraction == pytest.approx(-20 / 30)
    assert _result(dataset, reference=contestant()).reference.sqnr_db is None
    backwards = _result(dataset, contestant(shift=1), contestant()).reference
    assert (backwards.lost, backwards.gained) == (20, 0)
    assert backwards.mcnemar_p == pytest.approx(2 / 2**20)


def test_distance_calibration_and_classes_by_hand(dataset):
    result = _result(dataset, contestant(noise=0.3), contestant(noise=0.2))
    reds = [(label + 1) % CLASSES if copy == 0 else label for label in range(CLASSES) for copy in range(3)]
    angles = np.arange(CLASSES) + np.array(reds)[:, None]
    plain = 3 * np.eye(CLASSES)[reds]
    model, reference = plain + 0.3 * np.cos(angles), plain + 0.2 * np.cos(angles)
    expected = 10 * np.log10((reference**2).sum() / ((model - reference) ** 2).sum())
    assert result.reference.sqnr_db == pytest.approx(expected, abs=1e-4)
    assert result.reference.max_abs == pytest.approx(np.abs(model - reference).max(), rel=1e-5)
    probabilities = np.exp(model) / np.exp(model).sum(1, keepdims=True)
    confidence, right = probabilities.max(1), np.array([copy != 0 for _ in range(CLASSES) for copy in range(3)])
    gaps = [
        abs(right[rows].mean() - confidence[rows].mean()) * rows.sum() / 30
        for k in range(15)
        if (rows := (confidence > k / 15) & (confidence <= (k + 1) / 15)).any()
    ]
    assert result.calibration_error == pytest.approx(sum(gaps), abs=1e-6)
    assert [(row.label, row.images) for row in result.per_class] == [(label, 3) for label in range(CLASSES)]
    assert all(row.top1 == pytest.approx(2 / 3) for row in result.per_class)


def test_corrupt_images_are_counted_and_named(dataset):
    (dataset / "val" / "3" / "1.png").write_bytes(b"broken")
    (dataset / "val" / "4" / "2.png").write_bytes((dataset / "val" / "4" / "1.png").read_bytes()[:40])
    found = _results(dataset, [contestant()])
    assert (found.listed, found.evaluated, [c.name for c in found.corrupt]) == (30, 28, ["3/1.png", "4/2.png"])
    assert found.models[0].top1 == pytest.approx(18 / 28)
    for path in dataset.rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match="none of the 30 images"):
        _result(dataset)


def test_several_models_decode_every_image_once_and_each_crops_its_own(dataset, monkeypatch):
    from deepvit.runtime.preprocess import crop

    decoded = []
    real = crop.decode_rgb
    monkeypatch.setattr(crop, "decode_rgb", lambda *given: decoded.append(1) or real(*given))
    models = [contestant("a"), contestant("b", SMALLER, shift=1), contestant("c")]
    found = _results(dataset, models, contestant("r", SMALLER))
    assert len(decoded) == 30
    assert [round(each.top1, 3) for each in found.models] == [0.667, 0.0, 0.667]
    alone = [timeless(_results(dataset, [model], contestant("r", SMALLER)))["models"] for model in models]
    assert timeless(found)["models"] == [each for (each,) in alone]


def test_models_of_other_classes_are_refused(dataset):
    other = contestant("other")
    other.session.classes = 7
    with pytest.raises(InputError, match="other has 7 classes, m has 10"):
        _result(dataset, reference=other)


def test_labels_that_the_model_does_not_have(dataset):
    model = contestant()
    model.session.classes = 9
    with pytest.raises(InputError, match=r"9/0\.png has label 9, the model has 9 classes"):
        _result(dataset, model)


def test_non_finite_logits_are_counted_as_wrong(dataset):
    for copy in range(3):
        Image.new("RGB", (6, 6), (5, 1, 0)).save(dataset / "val" / "5" / f"{copy}.png")
    result = _result(dataset, reference=contestant(noise=0.1))
    assert (result.non_finite, result.reference.non_finite) == (3, 3)
    assert result.top1 == pytest.approx(18 / 30)
    assert np.isfinite(result.reference.sqnr_db)


def test_non_finite_logits_are_an_error_elsewhere():
    logits = np.zeros((3, 2), np.float32)
    assert check_logits(logits, "m") is logits
    logits[1, 0] = np.nan
    with pytest.raises(OutOfBoundsError, match="1 of 3 images are not finite"):
        check_logits(logits, "m")


def test_batches_that_are_padded_count_no_padding(dataset, tiny_loaded, tmp_path):
    from deepvit.export.options import ExportOptions, GraphOptions
    from deepvit.export.pipeline import export_artifact
    from deepvit.measure.models import open_model
    from deepvit.measure.options import SessionOptions, WeightOptions
    from deepvit.runtime.artifact.manifest import Precision

    options = GraphOptions(precision=Precision.FP32, batch=BatchRange(min=4, opt=4, max=4))
    export_artifact(tiny_loaded, ExportOptions(graph=options, output=tmp_path / "fixed"))
    for label in range(5, CLASSES):
        for path in (dataset / "val" / str(label)).glob("*.png"):
            path.unlink()
        (dataset / "val" / str(label)).rmdir()
    opened = open_model(str(tmp_path / "fixed"), SessionOptions(), WeightOptions())
    source = open_dataset(str(dataset), 5)
    evaluator = Evaluator([opened.contestant], source, EvaluationOptions(batch_size=7, workers=0))
    evaluator.run(evaluator.missing())
    found = evaluator.results("d")
    assert (found.listed, found.evaluated, sum(row.images for row in found.models[0].per_class)) == (15, 15, 15)


@pytest.fixture
def opener(dataset, tmp_path):
    (dataset / "val" / "3" / "1.png").write_bytes(b"broken")
    options = EvaluationOptions(batch_size=4, workers=0, journal=tmp_path / "run.sqlite")
    return StubOpener(str(dataset), options)


def test_two_processes_find_what_one_does(opener, tmp_path):
    with opener() as alone:
        alone.run(alone.missing())
        expected = timeless(alone.results("d"))
    shared = dataclasses.replace(opener, options=dataclasses.replace(opener.options, journal=tmp_path / "two.sqlite"))
    with shared() as evaluator:
        seen = []
        run_shards(evaluator, shared, Shards(processes=2), lambda done, total: seen.append((done, total)))
        assert timeless(evaluator.results("d")) == expected
        assert evaluator.missing() == []
        assert seen[-1] == (30, 30)
        assert evaluator.models[0].session.runs == 0
    assert expected["evaluated"] + len(expected["corrupt"]) == expected["listed"] == 30


def test_a_process_that_fails_or_is_killed_is_an_error(opener):
    failing = FailingOpener(**{field.name: getattr(opener, field.name) for field in dataclasses.fields(opener)})
    killed = dataclasses.replace(failing, signal=signal.SIGKILL)
    with opener() as evaluator:
        for fails, error in ((failing, "ValueError: cannot be opened here"), (killed, "MissingError: .* was killed")):
            with pytest.raises((ValueError, MissingError)) as caught:
                run_shards(evaluator, fails, Shards(processes=2))
            assert re.match(error, f"{caught.typename}: {caught.value}")


def test_every_process_sees_its_own_gpu_of_those_that_this_one_was_given(opener, monkeypatch):
    telling = TellingOpener(**{field.name: getattr(opener, field.name) for field in dataclasses.fields(opener)})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-8f1e,MIG-2a")
    with opener() as evaluator:
        run_shards(evaluator, telling, Shards(gpus=("0", "2")))
    told = {path.read_text() for path in opener.options.journal.parent.glob("run.[0-9]*")}
    assert told == {"4 PCI_BUS_ID", "MIG-2a PCI_BUS_ID"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,GPU-8f1e,MIG-2a"


def test_killed_at_thirty_moments_and_resumed(dataset, tmp_path):
    """The program is killed 30 times in all, each time resumed, and ends with the result of a run in one go."""
    (dataset / "val" / "3" / "1.png").write_bytes(b"broken")
    environment = {**os.environ, "DEEPVIT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}

    def start(output, *flags):
        command = [sys.executable, ROOT / "tests" / "doubles" / "evaluation_stub.py", dataset, output, "0.03", *flags]
        return subprocess.Popen(command, env=environment)

    assert start(tmp_path / "expected.json").wait() == 0
    expected = (tmp_path / "expected.json").read_text()
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    moments = random.Random(seed)
    killed = finished = 0
    while killed < 30:
        output = tmp_path / "resumed.json"
        process = start(output, *(["--resume"] if killed else []), *(["--crops"] if killed % 2 else []))
        try:
            assert process.wait(moments.uniform(0.3, 0.9)) == 0
            assert output.read_text() == expected
            finished += 1
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
    assert start(tmp_path / "resumed.json", "--resume").wait() == 0
    assert (tmp_path / "resumed.json").read_text() == expected
    left = {path.name.partition("-")[0] for path in (tmp_path / "cache" / "evaluation").iterdir()}
    assert left <= {"logits", "crops"}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "evaluation"


def _kept(dataset, reference, keeping, **options):
    source, given = open_dataset(str(dataset), CLASSES), EvaluationOptions(batch_size=7, workers=0, **options)
    with options_with_files(given, [contestant()], reference, source, keeping) as kept:
        evaluator = Evaluator([contestant()], source, kept, reference)
        evaluator.run(evaluator.missing())
        results = evaluator.results("d")
        evaluator.close()
        return results


def test_the_reference_runs_once_and_again_when_anything_changes(dataset, cache):
    def runs(reference):
        before = reference.session.runs
        results.append(_kept(dataset, reference, Keeping()).models[0].reference.model_dump())
        return reference.session.runs - before

    results = []
    reference = contestant("r", noise=0.5)
    assert runs(reference) == 5
    assert runs(reference) == 0
    assert results[0] == results[1]
    assert runs(contestant("r", noise=0.4)) == 5  # other weights
    assert runs(dataclasses.replace(reference, preprocessing=reference.preprocessing.model_copy(update={"resize": 5})))
    Image.new("RGB", (6, 6), (9, 0, 0)).save(dataset / "val" / "0" / "0.png", compress_level=0)
    assert runs(reference) == 5  # another image of the same name
    assert results[-1]["top1"] != results[0]["top1"] or results[-1] != results[0]


def test_crops_are_decoded_once_and_again_when_an_image_changes(dataset, cache, monkeypatch):
    from deepvit.runtime.preprocess import crop

    decoded = []
    real = crop.decode_rgb
    monkeypatch.setattr(crop, "decode_rgb", lambda *given: decoded.append(1) or real(*given))
    (dataset / "val" / "3" / "1.png").write_bytes(b"broken")

    def run():
        decoded.clear()
        return timeless(_kept(dataset, None, Keeping(crops=True)))

    first = run()
    assert len(decoded) == 30
    assert run() == first
    assert len(decoded) == 1  # what cannot be decoded is tried again
    Image.new("RGB", (6, 6), (9, 0, 0)).save(dataset / "val" / "0" / "1.png", compress_level=0)
    assert run() != first
    assert len(decoded) == 30  # its size is another, so that all are looked for elsewhere


def test_the_same_evaluation_cannot_run_twice_at_once(dataset, cache):
    source = open_dataset(str(dataset), CLASSES)
    with options_with_files(EvaluationOptions(), [contestant()], None, source, Keeping()) as options:
        pathlib.Path(options.journal).touch()
        again = options_with_files(EvaluationOptions(), [contestant()], None, source, Keeping())
        with pytest.raises(InputError, match="the same evaluation is running, it holds"):
            again.__enter__()
        with options_with_files(EvaluationOptions(batch_size=9), [contestant()], None, source, Keeping()):
            pass  # another one can
    assert not pathlib.Path(options.journal).exists()


def test_a_cache_that_cannot_be_had_costs_only_the_resuming(dataset, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "file"))
    assert _kept(dataset, None, Keeping()).evaluated == 30
    assert "cannot be resumed" in caplog.text
    with pytest.raises(InputError, match="cannot be made"):
        _kept(dataset, None, Keeping(resume=True))


def test_real_labels(tmp_path):
    numbers = {1: (3, [3]), 2: (4, [5, 6]), 3: (5, []), 50_000: (6, [6, 7])}  # file number → what is seen, valid labels
    for number, (red, _) in numbers.items():
        Image.new("RGB", (6, 6), (red, 0, 0)).save(tmp_path / f"ILSVRC2012_val_{number:08d}.png")
    real = [[] for _ in range(50_000)]
    for number, (_, valid) in numbers.items():
        real[number - 1] = valid
    (tmp_path / "real.json").write_text(json.dumps(real))
    from deepvit.images.imagenet import open_images
    from deepvit.images.sources import FolderSource

    names = open_images(str(tmp_path))
    source = FolderSource(names.root, tuple((name, 0) for name, _ in names.files))
    labels = read_real_labels(tmp_path / "real.json", source)
    evaluator = Evaluator([contestant()], source, EvaluationOptions(batch_size=3, workers=0))
    evaluator.run(evaluator.missing())
    found = evaluator.results("d", labels)
    assert (found.real_images, found.models[0].real_top1) == (3, pytest.approx(2 / 3))
    for broken in ("[1, 2", "[]", json.dumps([*real[:-1], ["a"]]), json.dumps([[1000], *real[1:]])):
        (tmp_path / "broken.json").write_text(broken)
        with pytest.raises(InputError, match=r"‹real_labels› .*broken\.json"):
            read_real_labels(tmp_path / "broken.json", source)
    Image.new("RGB", (6, 6)).save(tmp_path / "other.png")
    with pytest.raises(InputError, match=r"other\.png is not called ILSVRC2012_val"):
        read_real_labels(tmp_path / "real.json", FolderSource(tmp_path, (("other.png", 0),)))
