"""Wrong usage: one line on stderr and exit 2, before anything is done."""

import json
import shutil

import pytest

from tests.commands.command_line import refused_here, run_here


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["export", "deepvit32"], "nearest: deepvit_32"),
        (["export", "deepvit_16", "--batch", "8:4:1"], "expected 1 ≤ MIN ≤ OPT ≤ MAX"),
        (["export", "deepvit_16", "--batch", "a"], "expected MIN:OPT:MAX"),
        (["export", "deepvit_16", "--fp16", "--bf16"], "exclude each other"),
        (["export", "deepvit_16", "--int8", "--fp8"], "--int8 and --fp8 exclude each other"),
        (["export", "deepvit_16", "--int8", "--calibration-method", "best"], "expected max, entropy, mse"),
        (["export", "deepvit_16", "--int8", "--max-drop", "1", "--min-agreement", "99"], "exclude each other"),
        (["export", "deepvit_16", "--fp16", "--max-drop", "1"], "are for --int8 and --fp8"),
        (["export", "deepvit_16", "--int8", "--max-drop", "-1"], "expected 0 to 100"),
        (["export", "deepvit_16", "--int8", "--quantize-attention"], "is for --fp8"),
        (["export", "deepvit_16", "--int8", "--ranges", "none.json"], "--ranges none.json cannot be read"),
        (["export", "digits_cnn", "--pretrained", "--int8"], "give --imagenet DIR, or --ranges FILE"),
        (["export", "deepvit_16", "--fp8", "--target", "cpu"], "no CPU computes in FP8"),
        (["sensitivity", "deepvit_16", "--plot", "a.txt"], "expected a file that ends in .png"),
        (["export", "deepvit_16", "--target", "gpu"], "expected one of auto, onnx, cpu"),
        (["export", "deepvit_16", "--checkpoint", "none.pth"], "does not exist"),
        (["export", "deepvit_16", "--img-size", "230"], "not a positive multiple"),
        (["export", "deepvit_16", "--pretrained"], "no checkpoint of deepvit_16 is published"),
        (["eval", "none.onnx", "--imagenet", "."], "none.onnx cannot be read"),
        (["eval", "deepvit_17", "--imagenet", "."], "unknown variant"),
        (["eval", "engine.plan", "--imagenet", "."], "does not exist"),
        (["eval", "deepvit_16"], "Missing option"),
        (["frobnicate"], "No such command"),
        (["package"], "package needs --triton DIR"),
        (["package", "--triton", "x"], "package needs an artifact"),
        (["package", "none", "--triton", "x"], "does not exist"),
        (["package", "--triton", "none", "--check"], "is not a repository that `package` wrote"),
        (["package", "--triton", "x", "--check", "--kubernetes", "y"], "--check is about the repository alone"),
        (["package", "none", "--triton", "x", "--image", "y"], "--image is for --kubernetes DIR"),
        (["package", "none", "--triton", "x", "--kubernetes", "y", "--image", "a b"], "expected a container as in"),
        (["export", "deepvit_16", "--frobnicate"], "No such option"),
    ],
)
def test_wrong_usage(arguments, expected, capsys):
    assert expected in refused_here(2, arguments, capsys)


LONG = "a/" * 2500 + "a"


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", "digits_cnn", "--imagenet", LONG],
        ["eval", "digits_cnn", "--imagenet", LONG + ".tar"],
        ["eval", LONG, "--imagenet", "."],
        ["eval", "a" * 5000, "--imagenet", "."],
        ["eval", "digits_cnn", "--imagenet", ".", "--json", LONG],
        ["compare", LONG],
        ["compare", "digits_cnn", "--images", LONG],
        ["report", LONG],
        ["bench", LONG],
        ["inspect", LONG],
        ["export", "digits_cnn", "--pretrained", "--int8", "--imagenet", LONG],
        ["export", "digits_cnn", "--checkpoint", LONG],
        ["export", "digits_cnn", "--output", LONG],
    ],
    ids=lambda arguments: " ".join(each[:12] for each in arguments),
)
def test_a_path_of_five_thousand_characters(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_here(arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "internal" not in last


@pytest.fixture
def place(tiny_artifact, tmp_path, monkeypatch):
    """A folder with an artifact of random weights, a link to its graph, and one to a folder's file that is read."""
    shutil.copytree(tiny_artifact, tmp_path / "artifact")
    (tmp_path / "link.json").symlink_to(tmp_path / "artifact" / "model.onnx")
    (tmp_path / "weights.pth").write_bytes(b"weights")
    shutil.copy(tmp_path / "artifact" / "model.onnx", tmp_path / "lone.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


OVERWRITES = [
    "eval artifact --imagenet . --json artifact/model.onnx",
    "eval artifact --imagenet . --json artifact/../artifact/manifest.json",
    "eval lone.onnx --imagenet . --json lone.onnx",
    "eval digits_cnn --imagenet . --checkpoint weights.pth --json weights.pth",
    "inspect artifact --json link.json",
    "models --json artifact/model.onnx",
    "doctor --json artifact/model.onnx",
    "bench artifact --json artifact/model.onnx",
    "compare artifact --plot new.png --json new.png",
    "attention artifact --json artifact/model.onnx",
    "attention digits_cnn --maps link.json",
    "sensitivity digits_cnn --plot new.png --json new.png",
    "build artifact --json artifact/model.onnx",
    "export digits_cnn --json artifact/model.onnx",
    "package artifact --triton repository --json artifact/model.onnx",
    "report artifact --output artifact/model.onnx",
    "report artifact --output link.json",
]


@pytest.mark.parametrize("line", OVERWRITES)
def test_no_output_replaces_a_file_of_an_artifact_or_one_that_is_read(line, place, capsys):
    before = contents(place)
    said = refused_here(2, line.split(), capsys)
    assert said.endswith("name another file")
    assert (
        "is a file of the artifact in" in said
        or "is the file of --" in said
        or "is a file that this command reads" in said
    )
    assert contents(place) == before


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("digits_cnn --output artifact", "artifact holds tiny_cnn in FP16, which digits_cnn in FP16 would replace"),
        ("digits_cnn", "which random ones would replace; give --checkpoint or --pretrained, or name another folder"),
        ("digits_cnn --bf16 --output artifacts/digits_cnn-fp16", "holds digits_cnn in FP16, which digits_cnn in BF16"),
    ],
)
def test_an_artifact_of_something_else_is_not_replaced(line, expected, place, exported, capsys):
    shutil.copytree(exported, place / "artifacts" / "digits_cnn-fp16")
    before = contents(place)
    assert expected in refused_here(2, ["export", *line.split()], capsys)
    assert contents(place) == before


def test_an_artifact_of_the_same_is_replaced(place, exported, capsys):
    again = shutil.copytree(exported, place / "artifacts" / "digits_cnn-fp16")
    (again / "manifest.json").write_text((again / "manifest.json").read_text() + " ")
    assert run_here(["export", "digits_cnn", "--pretrained", "--parity-images", "1"]) == 0
    assert json.loads((again / "manifest.json").read_text())["parity"][-1]["images"] == 1


def test_results_may_lie_beside_an_artifact(place):
    for name in ("artifact/inspect.json", "artifact/inspect.json", "other.json"):
        assert run_here(["inspect", "artifact", "--json", name]) == 0
