"""Dry runs: what they list is what the real run does, what they refuse is what it refuses, and they write nothing."""

import importlib.util
import resource
import subprocess
import sys

import pytest

from deepvit.calibration.stages import RESCALING
from tests.commands.command_line import run_here, valid_result, without_gpu
from tests.places import ROOT

DIGITS = ("export", "digits_patch", "--pretrained")
SETS = {
    "fp16": ("--target", "onnx"),
    "weight-only": ("--int8", "--weight-only", "--target", "cpu"),
    "int8 within a budget": (
        "--int8", "--target", "onnx", "--calibration-images", "32", "--min-agreement", "90", "--check-images", "32",
    ),
    "fp8": ("--fp8", "--target", "onnx", "--calibration-images", "16", "--check-images", "16"),
    "tensorrt-rtx": ("--fp32", "--target", "tensorrt-rtx", "--compute-capability", "8.9"),
}  # fmt: skip
DETAILS = ("ranking ", "keeping ", "opening ")  # of a stage


def tree(*folders):
    """Every file and folder, with its size and time."""
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in folders
        for path in (folder, *folder.rglob("*"))
    }


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("DEEPVIT_CACHE", str(folder))
    return folder


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def planned(arguments, tmp_path, *folders):
    """The plan of a command, in the course of which no folder changes."""
    before = tree(*folders)
    path = tmp_path / "plan.json"
    assert run_here([*map(str, arguments), "--dry-run", "--json", str(path)]) == 0
    assert tree(*folders) == before
    plan = valid_result(path)
    assert (plan["kind"], plan["planned"]) == ("plan", arguments[0])
    return plan


def reported(capsys):
    """The stages that a run reported on stderr."""
    lines = [line.removeprefix("· ") for line in capsys.readouterr().err.splitlines() if line.startswith("· ")]
    return [line for line in lines if not line.startswith(DETAILS)]


@pytest.mark.parametrize("name", SETS)
def test_an_export_does_and_writes_what_its_dry_run_lists(name, digits, cache, place, tmp_path, capsys):
    if name == "tensorrt-rtx" and importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        pytest.skip("needs TensorRT-RTX")
    images = ("--imagenet", str(digits)) if "--calibration-images" in SETS[name] else ()
    command = [*DIGITS, *SETS[name], *images, "--output", str(place / "a")]
    plan = planned(command, tmp_path, cache, place, digits)
    capsys.readouterr()
    assert run_here(command) == 0
    stages = reported(capsys)
    assert [stage for stage in plan["stages"] if stage in stages or stage != RESCALING] == stages
    assert {file["path"] for file in plan["files"]} == {str(path) for path in (place / "a").iterdir()}
    assert not any(file["exists"] for file in plan["files"])
    assert plan["cost"]["seconds"] > 5
    again = planned(command, tmp_path, cache, place)
    assert all(file["exists"] for file in again["files"])


def test_a_package_writes_what_its_dry_run_lists(tiny_artifact, cache, place, tmp_path, capsys):
    command = ["package", str(tiny_artifact), "--triton", str(place / "repository")]
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"class {number}\n" for number in range(5)))
    command += ["--labels", str(labels)]
    plan = planned(command, tmp_path, cache, place, tiny_artifact)
    capsys.readouterr()
    assert run_here(command) == 0
    assert [f"opening {tiny_artifact}", *reported(capsys)] == plan["stages"]
    assert {file["path"] for file in plan["files"]} == {str(path) for path in (place / "repository").iterdir()}


REFUSED = {
    "an unknown variant": (2, ("export", "digits_batch")),
    "a folder of something else": (2, (*DIGITS, "--output", "{mine}")),
    "no dataset": (2, (*DIGITS, "--imagenet", "{nowhere}")),
    "no images to calibrate on": (2, (*DIGITS, "--int8")),
    "too few images": (2, (*DIGITS, "--int8", "--imagenet", "{digits}", "--calibration-images", "5000")),
    "a budget without images": (2, (*DIGITS, "--int8", "--weight-only", "--max-drop", "1")),
    "a size that is none": (2, ("export", "digits_patch", "--img-size", "41")),
    "names of other classes": (2, (*DIGITS, "--labels", "{mine}/notes")),
    "no such checkpoint": (2, ("export", "digits_patch", "--checkpoint", "{nowhere}")),
    "weights that nobody published": (2, ("export", "vit_16", "--pretrained")),
    "other classes": (2, (*DIGITS, "--num-classes", "7")),
    "a repository in the place of something else": (2, ("package", "{artifact}", "--triton", "{mine}")),
    "a backend without its file": (2, ("package", "{artifact}", "--triton", "{new}", "--backends", "tensorrt")),
    "no artifact": (2, ("build", "{nowhere}")),
    "an engine that cannot be built here": (3, ("build", "{artifact}", "--target", "tensorrt")),
    "an export's engine that cannot be built here": (3, (*DIGITS, "--target", "tensorrt")),
}


@without_gpu
@pytest.mark.parametrize("case", REFUSED)
def test_a_dry_run_refuses_what_the_run_refuses(case, tiny_artifact, digits, tmp_path, capsys, cache):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes").write_text("x")
    places = {"mine": mine, "nowhere": tmp_path / "nowhere", "digits": digits, "artifact": tiny_artifact}
    code, arguments = REFUSED[case]
    command = [argument.format(new=tmp_path / "new", **places) for argument in arguments]
    if command[0] == "export" and "--output" not in command:
        command += ["--output", str(tmp_path / "new")]
    lines = []
    before = tree(tmp_path, tiny_artifact)
    for asked in ([*command, "--dry-run"], command):
        assert run_here(asked) == code
        lines.append([line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")])
    assert lines[0] == lines[1]
    assert len(lines[0]) == 1
    assert tree(tmp_path, tiny_artifact) == before


@pytest.mark.parametrize("lacking", ["torch", "onnxscript"])
def test_a_dry_run_says_that_an_export_lacks_its_libraries(lacking, monkeypatch, capsys, tmp_path):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == lacking else real(name, *rest))
    assert run_here([*DIGITS, "--dry-run", "--output", str(tmp_path / "a")]) == 3
    assert f"needs {lacking}" in capsys.readouterr().err


def test_what_would_be_fetched_is_not_looked_into(capsys, tmp_path):
    assert run_here([*DIGITS, "--imagenet", "hfds/imagenet-1k", "--dry-run", "--output", str(tmp_path / "a")]) == 2
    assert "would be fetched" in capsys.readouterr().err


def test_a_dry_run_loads_no_torch_and_takes_a_second(tmp_path):
    code = (
        "import sys\n"
        "from deepvit.commands.app import main\n"
        "try:\n"
        f"    main([*{DIGITS!r}, '--dry-run', '--output', {str(tmp_path / 'a')!r}])\n"
        "except SystemExit as ended:\n"
        "    heavy = {'torch', 'timm', 'onnxruntime', 'matplotlib'} & set(sys.modules)\n"
        "    sys.exit(ended.code or sorted(heavy) or 0)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr
    assert "about" in result.stdout
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 1.5  # of a processor, however busy
