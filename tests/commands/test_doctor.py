"""`doctor`."""

import importlib.util
import json

import pytest

from deepvit.measure import doctor
from deepvit.runtime.kernels.plugin_record import VARIABLE
from tests.commands.command_line import run, without_gpu
from tests.doubles.fake_gpu import HERE
from tests.runtime.kernels.named_plugin import write_plugin


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
    assert found["draw, and write reports"]["works"]
    assert "disk for artifacts and the cache (1 GiB)" in found


def test_libraries_that_are_missing_are_named_with_their_packages(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor, "_provider", lambda provider, ability: doctor.Finding(ability, False, ""))
    found = {each.ability: each for each in doctor.examine()}
    expected = {
        "export, and run variants in PyTorch": "pip install torch torchvision timm onnxscript onnx-ir safetensors",
        "draw, and write reports": "pip install matplotlib jinja2",
        "package for Triton": "pip install tritonclient",
        "run ONNX models with ‹provider› openvino": "pip install openvino",
        "compare layers": "pip install 'polygraphy>=0.53'",
        "build the C++ runtime": "missing a C++ compiler and cmake",
    }
    for ability, remedy in expected.items():
        assert not found[ability].works
        assert remedy in found[ability].detail


def test_memory_is_what_the_container_has_left(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(doctor, "CONTAINER", tmp_path)
    assert doctor.free_memory() is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:       8388608 kB\n")
    (tmp_path / "memory.current").write_text("1073741824\n")
    for most, free in (("max", 8 << 30), (f"{4 << 30}", 3 << 30), (f"{99 << 30}", 8 << 30)):
        (tmp_path / "memory.max").write_text(f"{most}\n")
        assert doctor.free_memory() == free


@pytest.mark.parametrize(
    ("changes", "works", "detail"),
    [
        ({}, True, "libplugin.so, for tensorrt 11.4.0.106"),
        ({"sha256": "1" * 64}, False, "has SHA-256"),
        ({"schema": 2}, False, "is no record of a plugin"),
        ({"backend_major": 10}, False, "is for tensorrt 10, here is tensorrt 11"),
        ({"backend": "tensorrt-rtx"}, False, "is for tensorrt-rtx, which is not here to build"),
        ({"backend": "onnxruntime"}, False, "is for onnxruntime, which is not here to build"),
        ({"compute_capabilities": ["9.0"]}, False, "not 8.9"),
    ],
)
def test_a_plugin_has_a_row_where_one_is_named(tmp_path, monkeypatch, changes, works, detail):
    monkeypatch.setenv(VARIABLE, str(write_plugin(tmp_path, **changes)))
    (found,) = doctor._plugin(HERE)
    assert (found.ability, found.works) == ("fused re-attention in engines", works)
    assert detail in found.detail
    monkeypatch.delenv(VARIABLE)
    assert doctor._plugin(HERE) == []
