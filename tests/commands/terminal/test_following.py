"""The lines that commands end with: whatever is printed as the next one can be pasted, and works."""

import pathlib
import re
import shlex
import shutil

import pytest

from deepvit.commands.terminal.following import after_export, command_line, given, viewer
from deepvit.commands.terminal.spelling import program
from deepvit.export.options import ExportOptions
from deepvit.measure.options import SessionOptions, WeightOptions
from deepvit.model.weights.published import TRAINED_HERE
from deepvit.runtime.artifact import open_artifact
from deepvit.runtime.preprocess import DecodePolicy
from tests.commands.command_line import run_here

QUICK = {"bench": shlex.split("--rounds 1 --turn 0.01 --peers none")}  # peers take minutes, their tests are others


@pytest.fixture(scope="module")
def place(exported, digits, tmp_path_factory):
    """A folder to work in, with an artifact, a lone graph, weights, few labelled images, and some without labels."""
    folder = tmp_path_factory.mktemp("next")
    shutil.copytree(exported, folder / "artifact")
    shutil.copy(exported / "model.onnx", folder / "lone.onnx")
    (folder / "images").mkdir()
    for split, classes in (("train", 4), ("val", 6)):
        for each in sorted((digits / split).iterdir()):
            (folder / "digits" / split / each.name).mkdir(parents=True)
            for image in sorted(each.iterdir())[:classes]:
                shutil.copy(image, folder / "digits" / split / each.name)
    for image in sorted((digits / "val").glob("*/*"))[::100]:
        shutil.copy(image, folder / "images")
    shutil.copy(TRAINED_HERE / "digits_cnn.safetensors", folder / "weights 1.safetensors")
    return folder


@pytest.fixture
def says(place, monkeypatch, capsys):
    """Run a command in the folder, as far as its result matters; return the commands that it says come next."""
    monkeypatch.chdir(place)

    def run(arguments, *, code=0):
        capsys.readouterr()
        got = run_here([*arguments, *QUICK.get(arguments[0], ())])
        said = capsys.readouterr()
        assert got == code, f"{shlex.join(arguments)}: exit {got}\n{said.out}{said.err}"
        found = re.findall(r"^next: (.*)", said.out, re.MULTILINE)
        assert all(line.startswith(f"{program()} ") for line in found)
        return [shlex.split(line.removeprefix(program())) for line in found]

    return run


def follow(says, arguments, seen):
    """Run a command, what it says comes next, and so on; return them as one line each."""
    chain = []
    pending = [shlex.split(arguments)]
    while pending:
        for following in says(pending.pop()):
            chain.append(shlex.join(following))
            if chain[-1] not in seen:
                seen.add(chain[-1])
                pending.append(following)
    return chain


SEEN: set[str] = set()  # commands that ran already
CHAINS = {
    "models": ["export digits_cnn --fp16 --pretrained", "compare artifacts/digits_cnn-fp16 --pretrained"],
    "eval artifact --imagenet digits --limit 9 --pretrained": [
        "eval artifact --imagenet digits --limit 9 --reference pytorch --pretrained",
        "bench artifact --pretrained",
        "report artifact",
    ],
    "eval artifact --imagenet digits --limit 9": ["bench artifact", "report artifact"],
    "eval lone.onnx --variant digits_cnn --imagenet digits --limit 9": ["bench lone.onnx --peers none"],
    "eval digits_cnn --pretrained --imagenet digits --limit 9": [
        "export digits_cnn --fp16 --pretrained --imagenet digits",
        "eval artifacts/digits_cnn-fp16/model.onnx --imagenet digits",
        "bench artifacts/digits_cnn-fp16/model.onnx",
        "report artifacts/digits_cnn-fp16",
    ],
    "compare artifact --checkpoint 'weights 1.safetensors' --count 2": [
        "bench artifact --checkpoint 'weights 1.safetensors'",
        "report artifact",
    ],
    "compare artifact --imagenet digits --pretrained --count 2": [
        "eval artifact --imagenet digits --reference pytorch --pretrained",
        "bench artifact --pretrained",
    ],
    "compare artifact --images images --pretrained --count 2": ["bench artifact --pretrained"],
    "attention digits_cnn --pretrained --images images --drawn 1": [
        "export digits_cnn --fp16 --attention-maps --output artifacts/digits_cnn-maps --pretrained --imagenet images",
        "attention artifacts/digits_cnn-maps --images images",
        "inspect artifacts/digits_cnn-maps",
        "attention artifacts/digits_cnn-maps",
    ],
    "inspect artifact": ["bench artifact --peers none"],
    "sensitivity digits_cnn --pretrained --imagenet digits --images 2 --calibration-images 4": [
        "export digits_cnn --int8 --pretrained --imagenet digits --calibration-images 4 --min-agreement 99.5",
        "eval artifacts/digits_cnn-int8/model.onnx --imagenet digits",
        "bench artifacts/digits_cnn-int8/model.onnx",
    ],
    "package artifact --triton repository": ["package --triton repository --check"],
}


@pytest.mark.parametrize("arguments", CHAINS)
def test_what_comes_next_works(arguments, says):
    chain = follow(says, arguments, SEEN)
    expected = CHAINS[arguments]
    assert chain[: len(expected)] == expected
    assert len(chain) == len(expected) or chain[len(expected) - 1] in SEEN


def test_images_without_labels_are_compared_not_scored(place, monkeypatch):
    monkeypatch.chdir(place)
    artifact, weights = open_artifact(pathlib.Path("artifact")), WeightOptions(pretrained=True)
    expected = {"digits": "eval artifact/model.onnx --imagenet digits", "images": "compare artifact --imagenet images"}
    for images, command in expected.items():
        assert after_export(artifact, ExportOptions(imagenet=images), weights).removesuffix(" --pretrained") == command


def test_what_was_given_is_given_again():
    weights = WeightOptions(checkpoint=pathlib.Path("a b.pth"), no_ema=True, img_size=64)
    assert given(WeightOptions()) == {}
    assert command_line("eval", "an artifact", **given(weights)) == (
        "eval 'an artifact' --checkpoint 'a b.pth' --no-ema --img-size 64"
    )
    assert given(DecodePolicy(max_megapixels=90)) == {"max_megapixels": 90}
    assert given(weights, "no_ema") == {"no_ema": True}
    assert given(SessionOptions(provider="cuda", allow_host_code=True)) == {"provider": "cuda", "allow_host_code": True}


@pytest.mark.parametrize(("screen", "expected"), [("", None), (":0", "xdg-open 'a b.html'")])
def test_a_page_is_opened_where_there_is_a_screen(screen, expected, monkeypatch, tmp_path):
    (tmp_path / "xdg-open").write_text("#!/bin/sh\n")
    (tmp_path / "xdg-open").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DISPLAY", screen)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert viewer(pathlib.Path("a b.html")) == expected
    (tmp_path / "xdg-open").unlink()
    assert viewer(pathlib.Path("a b.html")) is None
