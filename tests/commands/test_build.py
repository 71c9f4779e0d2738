"""`build`, and what `inspect` and `eval` make of the engine."""

import json
import shutil

from tests.commands.command_line import HERE, refused, run, without_gpu


@without_gpu
def test_inspect_shows_an_engine_that_cannot_be_loaded_here(built, tmp_path):
    result = run("inspect", built, "--json", tmp_path / "inspect.json")
    assert result.returncode == 0, result.stderr
    assert "engine engine.rtx.plan: tensorrt-rtx 1.7.1.116, compute capability 8.9,12.0, batch 1:8:64" in result.stdout
    assert "runs here: no: no NVIDIA GPU" in result.stdout
    assert "MATRIX_MULTIPLY HALF  40" in result.stdout
    assert "MATRIX_MULTIPLY FLOAT" not in result.stdout
    found = json.loads((tmp_path / "inspect.json").read_text())
    (engine,) = found["manifest"]["engines"]
    assert engine["census"]["network"]["MATRIX_MULTIPLY HALF"] == 40


@without_gpu
def test_a_plan_without_a_gpu_is_exit_3_and_the_folder_still_evaluates(built, digits):
    line = refused(3, "eval", built / "engine.rtx.plan", "--imagenet", digits)
    assert "was built for TensorRT-RTX 1.7.1.116 on compute capability 8.9 or 12.0; this machine has" in line
    assert "no NVIDIA GPU" in line
    assert f"run `{HERE} build {built} --target tensorrt-rtx`" in line
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
def test_refusals(built, tmp_path):
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
        (2, ["eval", built / "engine.rtx.plan", "--imagenet", ".", "--provider", "cuda"], "is for ONNX models"),
        (3, ["eval", built / "model.onnx", "--imagenet", ".", "--provider", "cuda"], "pip install onnxruntime-gpu"),
        (3, ["eval", built / "model.onnx", "--imagenet", ".", "--provider", "tensorrt-rtx"], "libcuda.so.1"),
    ):
        assert says in refused(code, *arguments), arguments
