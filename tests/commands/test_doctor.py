"""`doctor`."""

import json

from tests.commands.command_line import run, without_gpu


def test_runs_whatever_is_missing():
    assert run("doctor").returncode == 0


@without_gpu
def test_tells_what_is_missing(tmp_path):
    result = run("doctor", "--json", tmp_path / "doctor.json")
    assert result.returncode == 0, result.stderr
    found = {row["ability"]: row for row in json.loads((tmp_path / "doctor.json").read_text())["abilities"]}
    assert found["run ONNX models on the CPU"]["works"]
    assert "pip install onnxruntime-gpu" in found["run ONNX models with --provider cuda"]["detail"]
    assert "libcuda.so.1" in found["run ONNX models with --provider tensorrt-rtx"]["detail"]
    assert found["build engines with --target tensorrt-rtx"]["works"]
    assert "missing tensorrt" in found["build engines with --target tensorrt"]["detail"]
    assert "an NVIDIA GPU" in found["run engine.plan"]["detail"]
