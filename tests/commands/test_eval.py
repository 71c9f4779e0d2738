"""`eval`: scores of artifacts and variants, and models and datasets that it refuses."""

import json
import shutil

import onnx
from PIL import Image

from tests.commands.command_line import HERE, refused, refused_here, run, run_anew, run_here


def test_eval_of_the_artifact_agrees_with_pytorch(exported, digits, tmp_path):
    result = run_anew(
        "eval", exported / "model.onnx", "--imagenet", digits, "--reference", "pytorch", "--pretrained",
        "--json", tmp_path / "eval.json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    measured = json.loads((tmp_path / "eval.json").read_text())
    assert measured["evaluated"] == measured["listed"] == 596
    (model,) = measured["models"]
    assert model["top1"] >= 0.97
    assert abs(model["top1"] - model["reference"]["top1"]) <= 0.002
    assert model["reference"]["agreement"] >= 0.999
    assert f"next: {HERE} bench {exported / 'model.onnx'} --pretrained" in result.stdout


def test_several_models_in_one_process_and_in_two(exported, digits, tmp_path):
    found = []
    for processes in ("1", "2"):
        path = tmp_path / f"{processes}.json"
        result = run(
            "eval", exported, "digits_cnn", "--pretrained", "--imagenet", digits, "--reference", "pytorch",
            "--limit", "150", "--batch-size", "16", "--processes", processes, "--per-class", "--json", path,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert "flips         0 lost, 0 gained" in result.stdout
        assert "class  images" in result.stdout
        found.append(json.loads(path.read_text()))
        for timed, keys in ((found[-1], ("command", "duration_s", "images_per_second_with_decoding")),
                            *((model, ("images_per_second",)) for model in found[-1]["models"])):  # fmt: skip
            for key in keys:
                del timed[key]
    assert found[0] == found[1]
    onnx, torch = found[0]["models"]
    assert (found[0]["evaluated"], torch["model"]) == (150, "digits_cnn in PyTorch")
    assert torch["reference"]["sqnr_db"] is None
    assert onnx["reference"]["sqnr_db"] > 40


def test_the_reference_must_be_the_weights_of_the_artifact(exported, digits, tmp_path):
    import torch

    from deepvit.model import VARIANTS, create_deepvit

    asked = ("eval", exported, "--imagenet", digits, "--reference", "pytorch")
    assert "add --checkpoint FILE or --pretrained" in refused(2, *asked)
    torch.save(create_deepvit(VARIANTS["digits_cnn"]).state_dict(), tmp_path / "other.pth")
    assert "the artifact was made from" in refused(2, *asked, "--checkpoint", tmp_path / "other.pth")


def test_random_weights_are_called_random(digits, tmp_path):
    written = run("export", "digits_patch", "--fp32", "--output", tmp_path / "a")
    assert "random weights" in written.stdout
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["weights"]["source"] == "random"
    for model in (tmp_path / "a", "digits_patch"):
        result = run("eval", model, "--imagenet", digits, "--limit", 20, "--json", tmp_path / "eval.json")
        lines = [line for line in result.stdout.splitlines() if line.startswith(("top-1", "top-5", "model"))]
        assert len(lines) == 3
        assert all("random weights" in line for line in lines)
        assert json.loads((tmp_path / "eval.json").read_text())["models"][0]["random_weights"]


def test_damaged_models(exported, digits, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "copy")
    content = (copy / "model.onnx").read_bytes()
    (copy / "model.onnx").write_bytes(content[: len(content) // 2])
    assert "expected" in refused(2, "eval", copy / "model.onnx", "--imagenet", digits)
    (copy / "model.onnx").write_bytes(bytes(len(content)))
    assert "SHA-256" in refused(2, "eval", copy, "--imagenet", digits)
    (copy / "manifest.json").unlink()
    assert "not an artifact" in refused(2, "eval", copy, "--imagenet", digits)
    for name, damaged in (("text.onnx", b"hello"), ("half.onnx", content[: len(content) // 2]), ("empty.onnx", b"")):
        path = tmp_path / name
        path.write_bytes(damaged)
        assert "not a model" in refused(2, "eval", path, "--imagenet", digits)


def test_a_lone_model_says_itself_what_it_is(exported, digits, tmp_path, caplog):
    lone = tmp_path / "lone.onnx"
    shutil.copy(exported / "model.onnx", lone)
    limited = ["--imagenet", str(digits), "--limit", "50"]
    results = []
    for model in (lone, exported / "model.onnx"):
        json_path = tmp_path / "eval.json"
        arguments = [str(model), *limited, "--reference", "pytorch", "--pretrained", "--per-class"]
        assert run_here(["eval", *arguments, "--json", str(json_path)]) == 0
        warned = f"{lone}: not verified: no manifest; preprocessing and class names by its own metadata, digits_cnn"
        assert (warned in caplog.text) == (model == lone)
        caplog.clear()
        results.append(json.loads(json_path.read_text()))
    changing = {"model", "images_per_second"}
    ours, theirs = ([{k: v for k, v in each.items() if k not in changing} for each in r["models"]] for r in results)
    assert ours == theirs


def test_a_model_that_says_nothing_needs_its_variant(exported, digits, tmp_path, capsys, caplog):
    model = onnx.load(exported / "model.onnx")
    del model.metadata_props[:]
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(model.SerializeToString())
    assert "--variant" in refused_here(2, ["eval", str(bare), "--imagenet", str(digits)], capsys)
    limited = ["--imagenet", str(digits), "--limit", "50", "--variant", "digits_cnn"]
    assert run_here(["eval", str(bare), *limited]) == 0
    said = caplog.text
    assert f"{bare}: not verified: no manifest; preprocessing and class names by " in said


def test_datasets_that_cannot_be_used(exported, digits, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no images" in refused(2, "eval", exported, "--imagenet", tmp_path / "empty")
    assert "does not exist" in refused(2, "eval", exported, "--imagenet", tmp_path / "none")
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    assert "no labels" in refused(2, "eval", exported, "--imagenet", tmp_path)


def test_corrupt_images_are_listed_and_not_scored(exported, digits, tmp_path):
    root = tmp_path / "val"
    for label in range(10):
        (root / str(label)).mkdir(parents=True)
        for path in sorted((digits / "val" / str(label)).iterdir())[:3]:
            shutil.copy(path, root / str(label))
    first = next((root / "3").iterdir())
    first.write_bytes(first.read_bytes()[:300])
    png = next((root / "4").iterdir())
    Image.open(png).copy().save(png, "PNG")
    result = run("eval", exported, "--imagenet", tmp_path)
    assert result.returncode == 0
    assert "29 of 30 images listed, 1 corrupt" in result.stdout
    assert f"corrupt, not scored: 3/{first.name}" in result.stderr
