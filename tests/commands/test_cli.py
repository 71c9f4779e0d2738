"""What a user types: one line on stderr and the documented exit code, whatever is wrong."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import warnings

import pytest
from PIL import Image

from tests.places import ROOT

SECONDS = 120
without_gpu = pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="about machines without a GPU")


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


def refused_here(code, arguments, capsys):
    """As `refused`, within this process, where torch is loaded already."""
    import deepvit.commands.app

    handler = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            deepvit.commands.app.main(list(arguments))
    finally:
        signal.signal(signal.SIGTERM, handler)
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if not line.startswith("· ")]
    assert ended.value.code == code, said.err
    assert len(lines) == 1, said.err
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
    (line,) = [line for line in result.stdout.splitlines() if "no TensorRT engine" in line]
    assert "tensorrt is not installed" in line
    assert line.endswith("on the machine with the GPU: python cli.py build artifacts/digits_cnn-fp16")
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
        for model in found[-1]:
            for key in ("seconds", "images_per_second", "model_images_per_second"):
                del model[key]
    assert found[0] == found[1]
    onnx, torch = found[0]
    assert (onnx["evaluated"], torch["model"]) == (150, "digits_cnn in PyTorch")
    assert torch["reference"]["sqnr_db"] is None
    assert onnx["reference"]["sqnr_db"] > 40


def test_an_interrupted_evaluation_says_how_to_go_on(exported, digits, tmp_path):
    command = [sys.executable, "cli.py", "eval", exported, "--imagenet", digits, "--batch-size", "1", "--workers", "2"]
    started = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    time.sleep(4)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does, to the decoding processes too
    _, said = started.communicate(timeout=60)
    if started.returncode not in (0, -signal.SIGINT):  # it may have been done already
        assert (started.returncode, said.strip()) == (130, "error: interrupted; the same command with --resume goes on")


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
        assert json.loads((tmp_path / "eval.json").read_text())["random_weights"]


def test_models_and_doctor():
    listed = run("models")
    assert listed.returncode == 0
    for name in ("deepvit_l_384", "84.25", "deepvit_patch16_224_re_attn_32b"):
        assert name in listed.stdout
    assert run("doctor").returncode == 0
    for command in ("models", "doctor", "export", "sensitivity", "eval"):
        assert "Example: python cli.py" in run(command, "--help").stdout


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

    from deepvit.model import VARIANTS, create_deepvit

    path = tmp_path / "swapped.pth"
    torch.save({"state_dict": create_deepvit(VARIANTS["digits_patch"]).state_dict()}, path)
    assert "it fits digits_patch" in refused(2, "export", "digits_cnn", "--checkpoint", path)
    path.write_bytes(path.read_bytes()[:5000])
    assert "truncated or not a PyTorch checkpoint" in refused(2, "export", "digits_cnn", "--checkpoint", path)
    assert not pathlib.Path("artifacts/digits_cnn-fp16/x").exists()


def test_package_writes_a_repository_and_check_finds_a_typo(exported, tmp_path):
    repository = tmp_path / "repository"
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"digit {number}\n" for number in range(10)))
    written = run("package", exported, "--triton", repository, "--labels", labels, "--backends", "python,onnxruntime")
    assert written.returncode == 0, written.stderr
    assert "random" not in written.stdout
    assert "next: python cli.py package --triton" in written.stdout
    assert (repository / "digits_cnn" / "labels.txt").read_text().splitlines()[3] == "digit 3"
    assert run("package", "--triton", repository, "--check").returncode == 0
    config = repository / "digits_cnn_onnxruntime" / "config.pbtxt"
    config.write_text(config.read_text().replace("dynamic_batching", "dynamic_batchin"))
    assert "does not follow Triton's schema" in refused(1, "package", "--triton", repository, "--check")
    assert "has no engine.plan" in refused(2, "package", exported, "--triton", tmp_path / "a", "--backends", "tensorrt")
    assert not (tmp_path / "a").exists()


@without_gpu
def test_a_named_engine_that_cannot_be_built_is_refused_before_anything_is_done(tmp_path):
    line = refused(3, "export", "digits_cnn", "--target", "tensorrt", cwd=tmp_path)
    assert "tensorrt is not installed; pip install tensorrt" in line
    line = refused(3, "export", "digits_cnn", "--target", "tensorrt-rtx", cwd=tmp_path)
    assert "--compute-capability 8.9,12.0" in line
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def built(exported, tmp_path_factory):
    """The exported artifact with a TensorRT-RTX engine, as the command line builds it on a machine without a GPU."""
    folder = tmp_path_factory.mktemp("built") / "artifact"
    shutil.copytree(exported, folder)
    result = run("build", folder, "--target", "tensorrt-rtx", "--compute-capability", "8.9,12.0")
    assert result.returncode == 0, result.stderr
    assert "40 MATRIX_MULTIPLY HALF" in result.stdout
    assert "not run: no GPU here" in result.stdout
    assert f"next: python cli.py inspect {folder}" in result.stdout
    return folder


@without_gpu
def test_inspect_shows_an_engine_that_cannot_be_loaded_here(built, tmp_path):
    result = run("inspect", built, "--json", tmp_path / "inspect.json")
    assert result.returncode == 0, result.stderr
    assert "engine engine.rtx.plan: tensorrt-rtx 1.7.1.116, compute capability 8.9,12.0, batch 1:8:64" in result.stdout
    assert "runs here: no: no NVIDIA GPU" in result.stdout
    assert "MATRIX_MULTIPLY HALF  40" in result.stdout
    assert "MATRIX_MULTIPLY FLOAT" not in result.stdout
    (engine,) = json.loads((tmp_path / "inspect.json").read_text())["engines"]
    assert engine["census"]["network"]["MATRIX_MULTIPLY HALF"] == 40


@without_gpu
def test_a_plan_without_a_gpu_is_exit_3_and_the_folder_still_evaluates(built, digits):
    line = refused(3, "eval", built / "engine.rtx.plan", "--imagenet", digits)
    assert "was built for TensorRT-RTX 1.7.1.116 on compute capability 8.9 or 12.0; this machine has" in line
    assert "no NVIDIA GPU" in line
    assert f"run `python cli.py build {built} --target tensorrt-rtx`" in line
    result = run("eval", built, "--imagenet", digits, "--limit", 20)
    assert result.returncode == 0, result.stderr
    assert "ONNX Runtime" in result.stdout
    assert "not using" in result.stderr


def test_a_changed_swapped_or_foreign_plan_is_exit_2(built, digits, tmp_path):
    folder = shutil.copytree(built, tmp_path / "a")
    plan = folder / "engine.rtx.plan"
    content = plan.read_bytes()
    for changed in (content[:-1], content[:100] + bytes([content[100] ^ 1]) + content[101:], b""):
        plan.write_bytes(changed)
        assert "engine.rtx.plan has" in refused(2, "eval", plan, "--imagenet", digits)
        assert run("inspect", folder).returncode == 2
    lonely = tmp_path / "engine.plan"
    lonely.write_bytes(content)
    assert "--trust-unverified" in refused(2, "eval", lonely, "--imagenet", digits, "--variant", "digits_cnn")
    shutil.copy(folder / "manifest.json", tmp_path / "manifest.json")
    assert "not part of the artifact" in refused(2, "eval", lonely, "--imagenet", digits)


@without_gpu
def test_build_refusals(built, tmp_path):
    for code, arguments, says in (
        (3, ["build", built], "no engine can be built here: tensorrt is not installed; tensorrt-rtx needs no GPU, but"),
        (3, ["build", built, "--target", "tensorrt"], "pip install tensorrt"),
        (2, ["build", built, "--target", "onnx"], "--target onnx builds no engine"),
        (2, ["build", tmp_path, "--target", "tensorrt-rtx", "--compute-capability", "8.9"], "not an artifact"),
        (2, ["build", tmp_path / "none"], "does not exist"),
        (2, ["build", built, "--target", "tensorrt-rtx", "--compute-capability", "9.0"], "only for 7.5, 8.0, 8.6"),
        (
            2,
            ["build", built, "--target", "tensorrt-rtx", "--compute-capability", "8.9", "--batch", "1:8:65"],
            "up to 64",
        ),
        (2, ["compare", built], "Give its weights by --checkpoint FILE or --pretrained"),
        (2, ["compare", "--layers", built, built], "takes one artifact, got 2"),
        (2, ["compare", "--layers", tmp_path], "not an artifact"),
        (2, ["eval", built / "engine.rtx.plan", "--imagenet", ".", "--provider", "cuda"], "is for ONNX models"),
        (3, ["eval", built / "model.onnx", "--imagenet", ".", "--provider", "cuda"], "pip install onnxruntime-gpu"),
        (3, ["eval", built / "model.onnx", "--imagenet", ".", "--provider", "tensorrt-rtx"], "libcuda.so.1"),
    ):
        assert says in refused(code, *arguments), arguments


def test_compare_layers(exported, tmp_path):
    result = run("compare", "--layers", exported, "--pretrained", "--json", tmp_path / "layers.json")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "layers.json").read_text())
    assert [row["layer"] for row in report["graph"]] == [*(f"blocks.{i}" for i in range(6)), "logits"]
    assert all(40 < row["sqnr_db"] < 100 for row in report["graph"])
    assert report["engine"] is None
    assert "falls most at " in result.stdout
    assert "SHA-256" in refused(2, "compare", "--layers", exported)
    assert "expected fp32" in refused(2, "compare", "--layers", exported, "--reference", exported)


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
    assert "next: python cli.py export digits_patch --int8 --pretrained" in ranked.stdout
    exported = run(
        "export", "digits_patch", "--int8", "--target", "cpu", "--pretrained", "--imagenet", digits, *few,
        "--min-agreement", 99, "--output", tmp_path / "a",
    )  # fmt: skip
    assert exported.returncode == 0, exported.stderr
    assert "calibrated on 64 images of train, ranges by mse for uint8" in exported.stdout
    assert "budget min-agreement 99: stay unquantised: none" in exported.stdout
    assert "on 596 held-out images of val" in exported.stdout
    evaluated = run("eval", tmp_path / "a", "--imagenet", digits, "--json", tmp_path / "eval.json")
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads((tmp_path / "eval.json").read_text())["top1"] >= 98
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["calibration"]["check"]["images"] == 596
    assert set(manifest["files"]) == {"model.onnx", "ranges.json"}
    assert "calibrated on 64 images" in run("inspect", tmp_path / "a").stdout
    line = refused(2, "build", tmp_path / "a", "--target", "tensorrt-rtx", "--compute-capability", "8.9")
    assert "quantised with unsigned activations for a CPU" in line


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


@without_gpu
def test_doctor_tells_what_is_missing(tmp_path):
    result = run("doctor", "--json", tmp_path / "doctor.json")
    assert result.returncode == 0, result.stderr
    found = {row["ability"]: row for row in json.loads((tmp_path / "doctor.json").read_text())}
    assert found["run ONNX models on the CPU"]["works"]
    assert "pip install onnxruntime-gpu" in found["run ONNX models with --provider cuda"]["detail"]
    assert "libcuda.so.1" in found["run ONNX models with --provider tensorrt-rtx"]["detail"]
    assert found["build engines with --target tensorrt-rtx"]["works"]
    assert "missing tensorrt" in found["build engines with --target tensorrt"]["detail"]
    assert "an NVIDIA GPU" in found["run engine.plan"]["detail"]
