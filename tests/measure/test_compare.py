"""`compare` and `eval --reference` see errors of preprocessing, of graphs and of weights, on photographs without labels."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import deepvit.commands.app
from deepvit.export.options import ExportOptions, GraphOptions
from deepvit.export.pipeline import export_artifact
from deepvit.measure.compare.ladder import compare_models
from deepvit.measure.compare.opening import open_reference_for
from deepvit.measure.compare.pictures import _caption
from deepvit.measure.compare.result import ComparedModel, WorstImage
from deepvit.measure.compare.timm_inputs import timm_inputs
from deepvit.measure.compare.words import verdict_of
from deepvit.measure.options import SessionOptions, WeightOptions
from deepvit.metrics.paired import proportion_interval
from deepvit.model.load import load_model
from deepvit.runtime import preprocess
from deepvit.runtime.artifact.manifest import ParityStage, Precision
from deepvit.runtime.errors import InputError
from tests.commands.command_line import without_progress
from tests.doubles.changed_artifact import forget_identity

PHOTOGRAPHS = 50


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """An FP16 artifact of a trained model."""
    folder = tmp_path_factory.mktemp("comparison") / "digits_cnn-fp16"
    loaded = load_model("digits_cnn", pretrained=True)
    export_artifact(loaded, ExportOptions(graph=GraphOptions(), output=folder))
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Fifty views of photographs, in ten folders that pass for classes."""
    import skimage

    folder = tmp_path_factory.mktemp("photos")
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg")
    root = skimage.__file__.rpartition("/")[0]
    for index in range(PHOTOGRAPHS):
        with Image.open(f"{root}/data/{names[index % 5]}") as image:
            left, top = 11 * index % 90, 7 * index % 60
            view = image.convert("RGB").crop((left, top, left + 150 + 3 * index, top + 120 + 2 * (index % 40)))
        path = folder / "val" / str(index % 10) / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        view.save(path)
    return folder


def _in_manifest(**changes):
    def plant(folder, _patch):
        forget_identity(folder)  # else it is refused when it is opened
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["preprocess"].update(changes)
        path.write_text(json.dumps(manifest))

    return plant


def _in_code(owner, name, change):
    """Replace a function wherever it was imported by a function of it."""

    def plant(_folder, patch):
        import deepvit.measure.compare.ladder
        import deepvit.measure.evaluate.evaluator

        original = getattr(owner, name)
        for module in (preprocess.crop, deepvit.measure.compare.ladder, deepvit.measure.evaluate.evaluator):
            if hasattr(module, name):
                patch.setattr(module, name, change(original))

    return plant


def _swapped(original):
    return lambda *given: Image.fromarray(np.asarray(original(*given))[..., ::-1].copy())


def _twice_normalised(original):
    def made(crops, preprocessing, channels=3):
        images = original(crops, preprocessing, channels)
        return ((images - np.float32(0.5)) / np.float32(0.5)).astype(np.float32)

    return made


def _channels_last(original):
    """The values in the order (H, W, 3), taken for (3, H, W)."""

    def made(crops, preprocessing, channels=3):
        images = original(crops, preprocessing, channels)
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1)).reshape(images.shape)

    return made


def _squashed(_original):
    return lambda image, p: np.asarray(image.resize((p.crop, p.crop), preprocess.INTERPOLATIONS[p.interpolation]))


def _not_antialiased(original):
    """Bilinear between the four nearest pixels, however much the image shrinks, as OpenCV's and torch's default."""

    def made(image, p):
        import torch

        width, height = preprocess.resized_size(image.width, image.height, p.resize)
        tensor = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float()
        small = torch.nn.functional.interpolate(tensor, (height, width), mode="bicubic", antialias=False)
        pixels = small[0].permute(1, 2, 0).clamp(0, 255).round().byte().numpy()
        return original(Image.fromarray(pixels), p)

    return made


ERRORS = {
    "BGR": _in_code(preprocess, "decode_rgb", _swapped),
    "no crop": _in_manifest(resize=40),
    "wrong mean": _in_manifest(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    "bilinear": _in_manifest(interpolation="bilinear"),
    "double normalisation": _in_code(preprocess, "model_input", _twice_normalised),
    "no antialiasing": _in_code(preprocess, "resize_and_crop", _not_antialiased),
    "NHWC in the code": _in_code(preprocess, "model_input", _channels_last),
    "crop 0.875": _in_manifest(resize=45),
    "squash": _in_code(preprocess, "resize_and_crop", _squashed),
    "nearest": _in_manifest(interpolation="nearest"),
}


def _code(*arguments):
    with pytest.raises(SystemExit) as stopped:
        deepvit.commands.app.main([str(argument) for argument in arguments])
    return stopped.value.code


@pytest.mark.parametrize("error", ERRORS)
def test_planted_errors_of_preprocessing_are_seen(artifact, photos, tmp_path, monkeypatch, capsys, error):
    folder = tmp_path / "artifact"
    shutil.copytree(artifact, folder)
    ERRORS[error](folder, monkeypatch)
    assert _code("compare", folder, "--images", photos, "--pretrained") == 1, error
    (said,) = without_progress(capsys.readouterr().err)
    assert said.startswith("error: too far from digits_cnn in PyTorch: "), said
    if "code" not in ERRORS[error].__qualname__:  # the manifest is seen by an evaluation too
        evaluated = ("eval", folder, "--imagenet", photos, "--pretrained", "--reference", "pytorch")
        assert _code(*evaluated) == 1
        assert "preprocessing " in capsys.readouterr().err


def test_without_an_error_it_holds(artifact, photos, tmp_path, capsys):
    arguments = ("--images", photos, "--pretrained", "--json", tmp_path / "a.json", "--plot", tmp_path / "a.png")
    assert _code("compare", artifact, "digits_cnn", *arguments) == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["kind"], found["compared"], found["listed"], found["corrupt"]) == ("comparison", 50, 50, [])
    typed, exact = found["models"]
    assert typed["input_max_abs"] == exact["input_max_abs"] == 0
    assert typed["stages"][0]["sqnr_db"] > 40
    assert exact["stages"][0]["sqnr_db"] is None  # PyTorch against itself
    assert not exact["worst"]
    assert [len(typed["worst"]), typed["breaches"]] == [8, []]
    ratios = [worst["sqnr_db"] for worst in typed["worst"]]
    assert ratios == sorted(ratios)
    with Image.open(io.BytesIO(base64.b64decode(typed["worst"][0]["thumbnail"]))) as thumbnail:
        assert thumbnail.size == (40, 40)  # the crop, not the file
    with Image.open(tmp_path / "a.png") as drawn:
        assert drawn.width > 500
    assert "worst: " in capsys.readouterr().out


def test_the_eval_of_the_sound_artifact_passes(artifact, photos):
    assert _code("eval", artifact, "--imagenet", photos, "--pretrained", "--reference", "pytorch") == 0


def test_a_changed_weight_is_seen(artifact, photos, tmp_path):
    import onnx

    folder = tmp_path / "artifact"
    shutil.copytree(artifact, folder)
    model = onnx.load(folder / "model.onnx")
    weight = next(each for each in model.graph.initializer if each.name.startswith("blocks.2.mlp.fc1.weight"))
    values = onnx.numpy_helper.to_array(weight).copy()
    values *= 1.5
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, folder / "model.onnx")
    forget_identity(folder)
    assert _code("compare", folder, "--images", photos, "--pretrained") == 1


def _compare(models, reference=None, dataset=None, **weights):
    given = WeightOptions(**weights)
    opened = open_reference_for(reference, models, SessionOptions(), given)
    return compare_models(
        models, opened, SessionOptions(), given, dataset=dataset, count=20, progress=lambda _done, _total: None
    )


def test_what_the_reference_is(artifact, photos, tmp_path):
    models = [str(artifact)]
    with pytest.raises(InputError, match="compare .* with what"):
        _compare(models)
    assert _compare(models, pretrained=True).reference == "digits_cnn in PyTorch"
    twice = _compare(models * 2)  # the first of several, where no weights are at hand
    assert twice.reference == str(artifact)
    assert [stage.sqnr_db for model in twice.models for stage in model.stages] == [None, None]
    with pytest.raises(InputError, match="has 10 classes"):
        _compare(models, "vit_16")


def test_corrupt_images_are_left_out_and_named(artifact, photos, tmp_path):
    folder = tmp_path / "some"
    shutil.copytree(photos, folder)
    (folder / "val" / "0" / "00.png").write_bytes(b"broken")
    found = _compare([str(artifact)], dataset=str(folder), pretrained=True)
    assert (found.compared + len(found.corrupt), found.corrupt[0].name) == (found.listed, "0/00.png")
    for path in folder.rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match="none of the 20 images"):
        _compare([str(artifact)], dataset=str(folder), pretrained=True)


def test_timms_input_is_ours_also_for_16_bit_greyscale(photographs, tmp_path):
    loaded = load_model("digits_cnn", pretrained=True)
    deep = tmp_path / "deep.png"
    Image.fromarray((np.arange(64 * 80).reshape(64, 80) * 12).astype(np.uint16)).save(deep)
    preprocessing = loaded.preprocessing()
    for path in (*photographs, deep):
        ours = preprocess.model_input(preprocess.crop_image(path, preprocessing)[None], preprocessing, 3)
        assert np.array_equal(timm_inputs(loaded, [path.read_bytes()]), ours), path


def _compared(*, judged, agreement, breaches=(), random=False):
    stage = ParityStage(stage="onnx-int8", against="r", max_abs=0.1, sqnr_db=30, top1_agreement=agreement, images=16)
    return ComparedModel(
        model="runs/digits_cnn-int8",
        runs_on="x",
        emulated=True,
        precision=Precision.INT8,
        random_weights=random,
        input_max_abs=0,
        stages=[stage],
        agreement_intervals=[proportion_interval(round(16 * agreement), 16)],
        judged=judged,
        non_finite=0,
        breaches=list(breaches),
        worst=[],
    )


def test_flips_that_nothing_judges_are_not_called_holding():
    unjudged = verdict_of(_compared(judged=["SQNR"], agreement=15 / 16))
    assert unjudged == "SQNR holds; agreement 93.75% (95% interval 71.67 to 98.89) is not judged"
    assert verdict_of(_compared(judged=["SQNR", "agreement"], agreement=1)) == "holds"
    assert verdict_of(_compared(judged=["SQNR"], agreement=1, breaches=["x"])) == "does not hold"
    assert verdict_of(_compared(judged=["SQNR"], agreement=0.5, random=True)).endswith(
        "not judged, the weights being random"
    )
    assert verdict_of(_compared(judged=[], agreement=1)).startswith("nothing is judged")


def test_eight_bits_are_compared_without_a_bound_of_agreement(tmp_path, photos, capsys):
    """An INT8 model, by the command line: what is judged is said in the JSON and in words."""
    data = ("--imagenet", photos, "--calibration-images", "16")
    assert (
        _code("export", "digits_cnn", "--int8", "--target", "onnx", "--pretrained", *data, "--output", tmp_path / "i")
        == 0
    )
    capsys.readouterr()
    given = ("--images", photos, "--pretrained", "--json", tmp_path / "i.json")
    assert _code("compare", tmp_path / "i", *given) == 0
    (model,) = json.loads((tmp_path / "i.json").read_text())["models"]
    assert model["judged"] == ["SQNR"]
    assert 0 < model["agreement_intervals"][0]["low"] < 1
    said = capsys.readouterr().out
    assert "i: SQNR holds; agreement " in said
    assert "is not judged" in said


def test_the_class_names_of_an_artifact_are_said_against_pytorch(tmp_path, photos, capsys):
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"digit {number}\n" for number in range(10)))
    artifact = tmp_path / "named"
    assert _code("export", "digits_cnn", "--fp16", "--pretrained", "--labels", labels, "--output", artifact) == 0
    capsys.readouterr()
    given = ("--images", photos, "--pretrained", "--json", tmp_path / "named.json")
    assert _code("compare", artifact, *given, "--plot", tmp_path / "worst.svg") == 0
    assert json.loads((tmp_path / "named.json").read_text())["class_names"] == labels.read_text().splitlines()
    assert re.search(r"worst: .* dB, digit \d .* → digit \d ", capsys.readouterr().out)
    assert "digit " in (tmp_path / "worst.svg").read_text()


def test_captions_are_wrapped_between_words_and_names_keep_their_end():
    worst = WorstImage(
        name="val/motorcycle_left-detail.jpg", sqnr_db=20.0, max_abs=1, reference_class=0, reference_probability=0.5,
        model_class=1, model_probability=0.407, thumbnail="",
    )  # fmt: skip
    assert _caption(worst, ["6", "8"]).splitlines() == ["motorcycle_left-detail.jpg", "20.0 dB", "6 → 8 40.7%"]
    long = worst.model_copy(update={"name": "ILSVRC2012_val_00001234_of_a_long_name.JPEG"})
    shown = _caption(long, ["great white shark", "tiger shark"]).splitlines()
    assert shown == ["…_00001234_of_a_long_name.JPEG", "20.0 dB", "great white shark → tiger", "shark 40.7%"]
