"""Artifacts as the command line writes them; tests must not change them."""

import shutil

import pytest

from tests.commands.command_line import ELSEWHERE, HERE, run, valid_result


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
    assert "for a CPU, --target cpu is faster" in line
    assert line.endswith(f"on the machine with the GPU: {ELSEWHERE} build artifacts/digits_cnn-fp16")
    assert "random" not in result.stdout
    assert valid_result(folder / "export.json")["manifest"]["precision"] == "fp16"
    return folder / "artifacts" / "digits_cnn-fp16"


@pytest.fixture(scope="session")
def built(exported, tmp_path_factory):
    """The exported artifact with a TensorRT-RTX engine, as the command line builds it on a machine without a GPU."""
    folder = tmp_path_factory.mktemp("built") / "artifact"
    shutil.copytree(exported, folder)
    given = ("--target", "tensorrt-rtx", "--compute-capability", "8.9,12.0")
    result = run("build", folder, *given, "--json", folder.with_name("build.json"))
    assert result.returncode == 0, result.stderr
    assert valid_result(folder.with_name("build.json"))["kind"] == "build"
    assert "40 MATRIX_MULTIPLY HALF" in result.stdout
    assert "not run: no GPU here" in result.stdout
    assert f"next: {HERE} inspect {folder}" in result.stdout
    return folder
