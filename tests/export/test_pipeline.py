"""Exports from end to end on tiny and trained models, and the ladder's refusals."""

import dataclasses
import shutil

import numpy as np
import onnx
import pytest
import torch

import deepvit.model
from deepvit import __version__
from deepvit.export.graph.padding import TokenPadding
from deepvit.export.graph.proof import activation_range
from deepvit.export.graph.spec import spec_from_manifest
from deepvit.export.options import QUANTIZED, ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.export.plan import class_names_of
from deepvit.export.words import describe_export
from deepvit.images.class_names import default_names
from deepvit.images.imagenet import open_dataset
from deepvit.images.samples import bundled_samples
from deepvit.measure.evaluate.evaluator import Evaluator
from deepvit.measure.evaluate.options import EvaluationOptions
from deepvit.measure.models import Contestant
from deepvit.measure.torch_session import TorchSession
from deepvit.metrics.bounds import PRECISION_BOUNDS, unshown
from deepvit.model.architecture import Stem
from deepvit.model.load import LoadedModel, load_model
from deepvit.model.variants import VARIANTS
from deepvit.model.weights.random import randomize
from deepvit.runtime.artifact import open_artifact
from deepvit.runtime.artifact.manifest import (
    IDENTITY,
    VERSION,
    GraphForm,
    InputForm,
    Interval,
    Precision,
    QkvForm,
    Weights,
)
from deepvit.runtime.errors import InputError, OutOfBoundsError
from deepvit.runtime.opening import open_session
from deepvit.runtime.ort.arithmetic import Arithmetic
from tests.doubles.tiny_models import TINY


@pytest.mark.parametrize("precision", [p for p in Precision if p not in QUANTIZED])
@pytest.mark.parametrize("form", list(InputForm))
def test_every_precision_and_input(tiny_loaded, tmp_path, precision, form):
    graph = GraphOptions(precision=precision, input_form=form)
    artifact = export_artifact(tiny_loaded, ExportOptions(graph=graph, output=tmp_path / "a", parity_images=3))
    manifest = artifact.manifest
    assert manifest.precision is precision
    assert manifest.input.dtype == form.value
    assert manifest.preprocess.layout == ("NHWC" if form is InputForm.UINT8 else "NCHW")
    assert spec_from_manifest(manifest) == dataclasses.replace(graph.spec, token_padding=TokenPadding.NEVER)
    assert len(manifest.parity) == (2 if precision is Precision.FP32 else 3)
    session = open_session(tmp_path / "a", arithmetic=Arithmetic.AS_DECLARED)
    assert session.run(np.zeros((3, *manifest.input.shape[1:]), manifest.input.dtype)).shape == (3, 5)


def test_same_inputs_same_bytes(tiny_loaded, tmp_path):
    hashes = {
        export_artifact(tiny_loaded, ExportOptions(graph=GraphOptions(), output=tmp_path / name))
        .manifest.files["model.onnx"]
        .sha256
        for name in ("one", "two")
    }
    assert len(hashes) == 1


NAMES = ["crane", "crane", "中国", 'wood rabbit, "cottontail"', "é"]


def test_the_artifact_and_its_graph_carry_the_class_names(tiny_loaded, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{name}\n" for name in NAMES), encoding="utf-8")
    options = ExportOptions(output=tmp_path / "a", labels=labels, parity_images=2)
    artifact = export_artifact(tiny_loaded, options)
    assert artifact.manifest.class_names == tuple(NAMES)
    assert open_session(tmp_path / "a").class_names == tuple(NAMES)
    shutil.move(tmp_path / "a" / "model.onnx", tmp_path / "lone.onnx")
    assert open_session(tmp_path / "lone.onnx").class_names == tuple(NAMES)
    model = onnx.load(tmp_path / "lone.onnx")
    assert (model.producer_name, model.producer_version) == ("deepvit", __version__)
    assert {each.key for each in model.metadata_props} == {IDENTITY, VERSION}
    assert next(each.value for each in model.metadata_props if each.key == VERSION) == __version__


def test_class_names_that_nobody_gives(tiny_loaded):
    for variant, classes, expected in (
        (tiny_loaded.variant, 5, None),
        (tiny_loaded.variant, 1000, default_names(1000)),
        (VARIANTS["digits_cnn"], 10, tuple("0123456789")),
        (VARIANTS["digits_cnn"], 7, None),
        (VARIANTS["deepvit_32"], 1000, default_names(1000)),
        (VARIANTS["deepvit_32"], 10, None),
    ):
        assert class_names_of(variant, classes, None) == expected


def test_labels_that_cannot_be_used_leave_no_artifact(tiny_loaded, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\n")
    with pytest.raises(InputError, match="has 2 lines, expected a class name in each of 5"):
        export_artifact(tiny_loaded, ExportOptions(output=tmp_path / "a", labels=labels))
    assert [path.name for path in tmp_path.iterdir()] == ["labels.txt"]
    labels.write_text("".join(f"{index:0100}\n" for index in range(10_000)))
    with pytest.raises(InputError, match="bytes of names, expected at most 786432"):
        class_names_of(tiny_loaded.variant, 10_000, labels)


@pytest.mark.parametrize("name", ["digits_patch", "digits_cnn"])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.FP16])
def test_trained_models_keep_their_held_out_accuracy(digits, tmp_path, name, precision):
    loaded = load_model(name, pretrained=True)
    options = ExportOptions(
        graph=GraphOptions(precision=precision), output=tmp_path / "a", imagenet=str(digits), parity_images=32
    )
    manifest = export_artifact(loaded, options).manifest
    assert manifest.weights.source == "checkpoint"
    assert all(stage.top1_enforced for stage in manifest.parity)
    size = loaded.module.img_size
    model, reference = (
        Contestant(name=name, session=session, preprocessing=preprocessing, identity=name)
        for name, session, preprocessing in (
            ("onnx", open_session(tmp_path / "a", arithmetic=Arithmetic.AS_DECLARED), manifest.preprocess),
            ("pytorch", TorchSession(loaded.module, (3, size, size)), loaded.preprocessing()),
        )
    )
    source = open_dataset(str(digits), 10)
    evaluator = Evaluator([model], source, EvaluationOptions(), reference)
    evaluator.run(evaluator.missing())
    found = evaluator.results("digits")
    assert found.evaluated == len(source) == 596
    (result,) = found.models
    assert result.reference.top1 >= 0.97
    assert abs(result.top1 - result.reference.top1) <= 0.002
    assert result.reference.agreement >= 0.999


def test_a_planted_fold_error_leaves_no_artifact(tiny_loaded, tmp_path, monkeypatch):
    def wrong(model):
        report = real(model)
        with torch.no_grad():
            model.blocks[1].attn.reatten_matrix.bias[0] += 1e-4
        return report

    from deepvit.model.rewrites import fold as folding

    real = folding.fold_mix_norm
    monkeypatch.setattr(folding, "ALWAYS", (wrong, *folding.ALWAYS[2:]))
    with pytest.raises(OutOfBoundsError, match="folded-float64 against original-float64"):
        export_artifact(tiny_loaded, ExportOptions(graph=GraphOptions(), output=tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


def test_activations_that_overflow_fp16_leave_no_artifact(tiny_loaded, tmp_path, monkeypatch):
    monkeypatch.setattr(activation_range, "FP16_MAX", 2.0)
    with pytest.raises(OutOfBoundsError, match=r"activations do not fit FP16.*blocks\.1.* reaches"):
        export_artifact(tiny_loaded, ExportOptions(graph=GraphOptions(), output=tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


def test_other_channels_and_sizes(tmp_path):
    row = dataclasses.replace(TINY[Stem.CNN], img_size=48)
    model = randomize(deepvit.model.create_deepvit(row, in_chans=1))
    loaded = LoadedModel(variant=row, module=model, weights=Weights(source="random", sha256="0" * 64))
    manifest = export_artifact(
        loaded, ExportOptions(graph=GraphOptions(target=Target.CPU), output=tmp_path / "a", parity_images=2)
    ).manifest
    assert manifest.input.shape == ("batch", 1, 48, 48)
    with pytest.raises(InputError, match="takes RGB pixels"):
        export_artifact(loaded, ExportOptions(graph=GraphOptions(input_form=InputForm.UINT8), output=tmp_path / "b"))
    assert open_artifact(tmp_path / "a").manifest.graph.qkv is QkvForm.SPLIT
    assert spec_from_manifest(manifest) == GraphOptions(target=Target.CPU).spec


def test_a_manifest_that_does_not_say_the_form_of_its_graph(tiny_artifact):
    manifest = open_artifact(tiny_artifact).manifest
    with pytest.raises(InputError, match="does not say in which form its graph is written; export again"):
        spec_from_manifest(manifest.model_copy(update={"graph": GraphForm(gemms=1)}))


def test_an_export_is_proved_on_all_photographs_and_says_what_they_show(digits, tmp_path):
    loaded = load_model("digits_patch", pretrained=True)
    manifest = export_artifact(loaded, ExportOptions(output=tmp_path / "a")).manifest
    last = manifest.parity[-1]
    assert (last.images, len(bundled_samples())) == (16, 16)
    assert last.top1_interval.low == pytest.approx(0.80639, abs=1e-5)  # Wilson's, of 16 out of 16
    assert last.top1_interval.high == 1
    assert (
        "onnx-fp16: 16 images cannot show its bound of 99.9% agreement; ‹parity_images› 3838 of ‹imagenet› would, at "
        "this rate"
    ) in list(describe_export(manifest))
    few = ExportOptions(output=tmp_path / "a", graph=GraphOptions(precision=Precision.FP32))
    assert not [line for line in describe_export(export_artifact(loaded, few).manifest) if "cannot show" in str(line)]
    many = last.model_copy(update={"images": 4000, "top1_interval": Interval(low=0.99904, high=1)})
    assert unshown(many, PRECISION_BOUNDS[Precision.FP16]) == ""
    lost = last.model_copy(
        update={"images": 1000, "top1_agreement": 0.999, "top1_interval": Interval(low=0.994, high=1)}
    )
    assert "no number would, at this rate" in unshown(lost, PRECISION_BOUNDS[Precision.FP16])
    random = last.model_copy(update={"top1_enforced": False})
    assert unshown(random, PRECISION_BOUNDS[Precision.FP16]) == ""
