"""`export` and `sensitivity`: what they write, and what they refuse to."""

import json
import os
import shutil

import pytest
from PIL import Image

from tests.commands.command_line import HERE, refused, run, run_anew, without_gpu


def test_outputs_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "cannot be written" in refused(2, "export", "digits_cnn", "--output", tmp_path / "file" / "a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("x")
    assert "folder of something else" in refused(2, "export", "digits_cnn", "--output", tmp_path / "mine")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o555)
    assert "cannot be written" in refused(2, "export", "digits_cnn", "--output", tmp_path / "a")


def test_checkpoints_end_to_end(tmp_path):
    import torch

    from deepvit.model import VARIANTS, create_deepvit

    path = tmp_path / "swapped.pth"
    torch.save({"state_dict": create_deepvit(VARIANTS["digits_patch"]).state_dict()}, path)
    assert "it fits digits_patch" in refused(2, "export", "digits_cnn", "--checkpoint", path, cwd=tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    assert "truncated or not a PyTorch checkpoint" in refused(
        2, "export", "digits_cnn", "--checkpoint", path, cwd=tmp_path
    )
    assert list(tmp_path.iterdir()) == [path]


@without_gpu
def test_a_named_engine_that_cannot_be_built_is_refused_before_anything_is_done(tmp_path):
    line = refused(3, "export", "digits_cnn", "--target", "tensorrt", cwd=tmp_path)
    assert "tensorrt is not installed; pip install tensorrt" in line
    line = refused(3, "export", "digits_cnn", "--target", "tensorrt-rtx", cwd=tmp_path)
    assert "--compute-capability 8.9,12.0" in line
    assert list(tmp_path.iterdir()) == []


def test_int8_from_images_to_evaluation(digits, tmp_path):
    """The way of a user: rank the linears, export within a budget, evaluate, look at the record."""
    few = ("--calibration-images", 64)
    ranked = run(
        "sensitivity", "digits_patch", "--pretrained", "--imagenet", digits, *few, "--images", 8,
        "--plot", tmp_path / "s.png", "--json", tmp_path / "s.json",
    )  # fmt: skip
    assert ranked.returncode == 0, ranked.stderr
    assert len(json.loads((tmp_path / "s.json").read_text())["units"]) == 24
    assert Image.open(tmp_path / "s.png").size == (1080, 720)
    assert f"next: {HERE} export digits_patch --int8 --pretrained" in ranked.stdout
    exported = run_anew(
        "export", "digits_patch", "--int8", "--target", "cpu", "--pretrained", "--imagenet", digits, *few,
        "--min-agreement", 99, "--output", tmp_path / "a",
    )  # fmt: skip
    assert exported.returncode == 0, exported.stderr
    assert "calibrated on 64 images of train, ranges by mse for uint8" in exported.stdout
    assert "budget min-agreement 99: stay unquantised: none" in exported.stdout
    assert "on 596 held-out images of val" in exported.stdout
    assert "no gain is expected" not in exported.stdout  # which is about GPUs
    evaluated = run("eval", tmp_path / "a", "--imagenet", digits, "--json", tmp_path / "eval.json")
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads((tmp_path / "eval.json").read_text())["models"][0]["top1"] >= 0.98
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["calibration"]["check"]["images"] == 596
    assert set(manifest["files"]) == {"model.onnx", "ranges.json"}
    assert "calibrated on 64 images" in run("inspect", tmp_path / "a").stdout
    line = refused(2, "build", tmp_path / "a", "--target", "tensorrt-rtx", "--compute-capability", "8.9")
    assert "quantised with unsigned activations for a CPU" in line


def test_eight_bits_that_gain_nothing_are_said(tmp_path):
    exported = run_anew("export", "digits_patch", "--int8", "--output", tmp_path / "a")
    assert exported.returncode == 0, exported.stderr
    words = " ".join(exported.stdout.split())
    assert "no gain is expected of int8 on a GPU: digits_patch's engine moves" in words


def test_corrupt_calibration_images_are_named_or_replaced(digits, tmp_path):
    for label in range(10):
        (tmp_path / "data" / "train" / str(label)).mkdir(parents=True)
        for path in sorted((digits / "train" / str(label)).iterdir())[:3]:
            shutil.copy(path, tmp_path / "data" / "train" / str(label))
    names = []
    for label in (2, 5, 7):
        path = next((tmp_path / "data" / "train" / str(label)).iterdir())
        path.write_bytes(path.read_bytes()[:200])
        names.append(f"{label}/{path.name}")
    asked = (
        "export", "digits_patch", "--int8", "--target", "onnx", "--pretrained", "--imagenet", tmp_path / "data",
        "--output", tmp_path / "a",
    )  # fmt: skip
    line = refused(2, *asked, "--calibration-images", 30)
    assert f"3 of 30 calibration images cannot be decoded: {', '.join(names)}" in line
    assert not (tmp_path / "a").exists()
    assert "30 images to calibrate on, expected 512" in refused(2, *asked)
    assert "only 27 of 30 images can be used" in refused(2, *asked, "--calibration-images", 30, "--skip-corrupt")
    result = run(*asked, "--calibration-images", 25, "--skip-corrupt")
    assert result.returncode == 0, result.stderr
    calibration = json.loads((tmp_path / "a" / "manifest.json").read_text())["calibration"]
    assert calibration["images"] == 25
    assert set(calibration["replaced"]) <= set(names)
    assert "could not be decoded and were replaced" in result.stderr
