"""Wrong usage: one line on stderr and exit 2, before anything is done."""

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
