"""Artifacts as the command line writes them; tests must not change them."""

import json
import shutil

import pytest

from tests.commands.command_line import ELSEWHERE, HERE, run


@pytest.fixture(scope="session")
def exported(tmp_path_factory, digits):
    """An FP16 artifact of the trained CNN-stem model, as the command line writes it."""
    folder = tmp_path_factory.mktemp("cli")
    result = run(
        "export", "digits_cnn", "--fp16", "--pretrained", "--imagenet", digits, "--json", folder / "export.json",
        cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert f"next: {ELSEWHERE} eval artifacts/digits_cnn-fp16/model.onnx" in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if "no TensorRT engine" in line]
    assert "tensorrt is not installed" in line
    assert line.endswith(f"on the machine with the GPU: {ELSEWHERE} build artifacts/digits_cnn-fp16")
    assert "random" not in result.stdout
    assert json.loads((folder / "export.json").read_text())["manifest"]["precision"] == "fp16"
    return folder / "artifacts" / "digits_cnn-fp16"


@pytest.fixture(scope="session")
def built(exported, tmp_path_factory):
    """The exported artifact with a TensorRT-RTX engine, as the command line builds it on a machine without a GPU."""
    folder = tmp_path_factory.mktemp("built") / "artifact"
    shutil.copytree(exported, folder)
    result = run("build", folder, "--target", "tensorrt-rtx", "--compute-capability", "8.9,12.0")
    assert result.returncode == 0, result.stderr
    assert "40 MATRIX_MULTIPLY HALF" in result.stdout
    assert "not run: no GPU here" in result.stdout
    assert f"next: {HERE} inspect {folder}" in result.stdout
    return folder
