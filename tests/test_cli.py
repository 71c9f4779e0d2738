"""What a user types: one line on stderr and the documented exit code, whatever is wrong."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from PIL import Image

SECONDS = 120


def run(*arguments, cwd=ROOT, **options):
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False, **options)


def refused(code, *arguments, **options):
    """Run, expect `code` and exactly one line on stderr, and return it."""
    result = run(*arguments, **options)
    assert result.returncode == code, result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("· ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, digits):
    """An FP16 artifact of the trained CNN-stem model, as the command line writes it."""
    folder = tmp_path_factory.mktemp("cli")
    result = run(
        "export", "digits_cnn", "--fp16", "--pretrained", "--imagenet", digits, "--json", folder / "export.json",
        cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "next: python cli.py eval artifacts/digits_cnn-fp16/model.onnx" in result.stdout
    assert "random" not in result.stdout
    assert json.loads((folder / "export.json").read_text())["precision"] == "fp16"
    return folder / "artifacts" / "digits_cnn-fp16"


def test_eval_of_the_artifact_agrees_with_pytorch(exported, digits, tmp_path):
    result = run(
        "eval", exported / "model.onnx", "--imagenet", digits, "--reference", "pytorch", "--pretrained",
        "--json", tmp_path / "eval.json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    measured = json.loads((tmp_path / "eval.json").read_text())
    assert measured["evaluated"] == measured["listed"] == 596
    assert measured["top1"] >= 97
    assert abs(measured["top1"] - measured["reference"]["top1"]) <= 0.2
    assert measured["reference"]["agreement"] >= 99.9
    assert "next: python cli.py" in result.stdout


def test_the_reference_must_be_the_weights_of_the_artifact(exported, digits, tmp_path):
    import torch

    from deepvit import VARIANTS, create_deepvit

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
        assert json.loads((tmp_path / "eval.json").read_text())["random_weights"]


def test_models_and_doctor():
    listed = run("models")
    assert listed.returncode == 0
    for name in ("deepvit_l_384", "84.25", "deepvit_patch16_224_re_attn_32b"):
        assert name in listed.stdout
    assert run("doctor").returncode == 0
    for command in ("models", "doctor", "export", "eval"):
        assert "Example: python cli.py" in run(command, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["export", "deepvit32"], "nearest: deepvit_32"),
        (["export", "deepvit_16", "--batch", "8:4:1"], "expected 1 ≤ MIN ≤ OPT ≤ MAX"),
        (["export", "deepvit_16", "--batch", "a"], "expected MIN:OPT:MAX"),
        (["export", "deepvit_16", "--fp16", "--bf16"], "exclude each other"),
        (["export", "deepvit_16", "--target", "gpu"], "expected one of auto, onnx, cpu"),
        (["export", "deepvit_16", "--checkpoint", "none.pth"], "does not exist"),
        (["export", "deepvit_16", "--img-size", "230"], "not a positive multiple"),
        (["export", "deepvit_16", "--pretrained"], "no checkpoint of deepvit_16 is published"),
        (["eval", "none.onnx", "--imagenet", "."], "none.onnx cannot be read"),
        (["eval", "deepvit_17", "--imagenet", "."], "unknown variant"),
        (["eval", "engine.plan", "--imagenet", "."], "does not exist"),
        (["eval", "deepvit_16"], "Missing option"),
        (["frobnicate"], "No such command"),
        (["export", "deepvit_16", "--frobnicate"], "No such option"),
    ],
)
def test_wrong_usage(arguments, expected):
    assert expected in refused(2, *arguments)


def test_engines_and_providers_that_are_not_here(exported, digits):
    assert "does not build engines yet" in refused(3, "export", "deepvit_16", "--target", "tensorrt")
    assert "no provider 'cuda'" in refused(3, "eval", exported, "--imagenet", digits, "--provider", "cuda")


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
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(content)
    assert "--variant" in refused(2, "eval", bare, "--imagenet", digits)
    assert run("eval", bare, "--imagenet", digits, "--variant", "digits_cnn", "--limit", 50).returncode == 0


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


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_interrupted_exports_leave_no_artifact_and_the_next_succeeds(tmp_path, sent, code):
    command = [sys.executable, str(ROOT / "cli.py"), "export", "digits_patch", "--output", str(tmp_path / "a")]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # Ctrl-C is ignored in what a shell runs in the background, and would be here too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    deadline = time.monotonic() + SECONDS
    for line in process.stderr:
        assert time.monotonic() < deadline
        if "exporting ONNX" in line:
            process.send_signal(sent)
            break
    assert process.wait(SECONDS) == code
    assert not (tmp_path / "a").exists()
    assert (os.listdir(tmp_path) == []) == (sent != signal.SIGKILL)
    result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert result.returncode == 0, result.stderr
    assert os.listdir(tmp_path) == ["a"]


def test_checkpoints_end_to_end(tmp_path):
    import torch

    from deepvit import VARIANTS, create_deepvit

    path = tmp_path / "swapped.pth"
    torch.save({"state_dict": create_deepvit(VARIANTS["digits_patch"]).state_dict()}, path)
    assert "it fits digits_patch" in refused(2, "export", "digits_cnn", "--checkpoint", path)
    path.write_bytes(path.read_bytes()[:5000])
    assert "truncated or not a PyTorch checkpoint" in refused(2, "export", "digits_cnn", "--checkpoint", path)
    assert not pathlib.Path("artifacts/digits_cnn-fp16/x").exists()
