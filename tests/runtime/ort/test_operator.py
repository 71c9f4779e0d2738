"""ONNX Runtime's operator of fused re-attention, built for its CPU provider, on a driver that only says what is launched."""

import hashlib
import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from deepvit.runtime.artifact.manifest import ANY_BATCH
from deepvit.runtime.errors import InputError
from deepvit.runtime.kernels.table import KERNELS
from deepvit.runtime.ort import graph, operator
from tests.places import ROOT

HERE = pathlib.Path(__file__).parent
SOURCES = ROOT / "runtime/cpp/operator"
PLUGIN = ROOT / "runtime/cpp/plugin"
KEPT = ROOT / "benchmarks/results/reattention-cubins.json"
ONNXRUNTIME = ROOT / "build/dependencies/usr/include/onnxruntime"
HALF_42 = 42.0


def _cuda():
    """The folder of cuda.h, which PyTorch's dependencies bring."""
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    return next((path.parent for folder in folders for path in pathlib.Path(folder).glob("*/include/cuda.h")), None)


CUDA = _cuda()
needs_headers = pytest.mark.skipif(
    not ONNXRUNTIME.is_dir() or CUDA is None, reason="the headers of ONNX Runtime or of CUDA are not here"
)


CONTENT = b"\x7fELF of an operator"
RECORD = {
    "schema": 1, "file": "liboperator.so", "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "layer": "deepvit::ReAttention/1", "backend": "onnxruntime", "backend_major": 21, "kernels_sha256": "0" * 64,
    "compute_capabilities": ["9.0"],
}  # fmt: skip
GRAPH = b"a graph with a ReAttention"


@pytest.fixture
def named(tmp_path, monkeypatch):
    """A library and its record, as they are told, that the environment names."""

    def name(content=CONTENT, **changes):
        (tmp_path / "liboperator.so").write_bytes(content)
        (tmp_path / "liboperator.json").write_text(json.dumps(RECORD | changes))
        monkeypatch.setenv("DEEPVIT_OPERATOR", str(tmp_path / "liboperator.so"))
        return tmp_path

    monkeypatch.setattr(operator, "_opened", {})
    return name


class Options:
    """A session's, which keeps what is registered."""

    def __init__(self):
        self.registered = []

    def register_custom_ops_library(self, path):
        self.registered.append(pathlib.Path(path).read_bytes())


@pytest.mark.parametrize(
    ("provider", "content", "registered"),
    [("cuda", GRAPH, [CONTENT]), ("cpu", GRAPH, []), ("cuda", b"another graph", [])],
)
def test_it_is_registered_for_graphs_that_have_the_node_on_cuda(named, monkeypatch, provider, content, registered):
    monkeypatch.setattr(graph, "_provider", lambda name: name)
    options = Options()
    named()
    for _ in range(2):
        graph._configure(options, provider, content, ANY_BATCH)
    assert options.registered == 2 * registered
    monkeypatch.delenv("DEEPVIT_OPERATOR")
    graph._configure(options, provider, content, ANY_BATCH)
    assert options.registered == 2 * registered


@pytest.mark.parametrize(
    ("content", "changes", "told"),
    [
        (b"altered", {}, "has SHA-256 .* says .*; build it again"),
        (CONTENT, {"layer": "deepvit::ReAttention/2"}, "expected deepvit::ReAttention/1"),
        (CONTENT, {"backend": "tensorrt"}, "for tensorrt, expected .* for onnxruntime"),
        (CONTENT, {"schema": 2}, "is no record"),
    ],
)
def test_what_is_not_as_recorded_is_refused_and_not_opened(named, monkeypatch, content, changes, told):
    monkeypatch.setattr(graph, "_provider", lambda name: name)
    named(content, **changes)
    options = Options()
    with pytest.raises(InputError, match=told) as caught:
        graph._configure(options, "cuda", GRAPH, ANY_BATCH)
    assert options.registered == [] and operator._opened == {} and "\n" not in str(caught.value)


def test_what_is_opened_is_what_was_hashed(named):
    folder = named()
    path = operator.operator_for(GRAPH)
    (folder / "liboperator.so").write_bytes(b"swapped")
    assert pathlib.Path(path).read_bytes() == CONTENT


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the library for the CPU, the one for CUDA, and the driver."""
    folder = tmp_path_factory.mktemp("operator")
    kernels = folder / "kernels"
    subprocess.run([sys.executable, PLUGIN / "tests/make_stand_ins.py", KEPT, kernels], check=True)
    subprocess.run([sys.executable, PLUGIN / "embed_kernels.py", kernels, folder / "kernels.cpp"], check=True)
    headers = ["-isystem", ONNXRUNTIME, "-isystem", CUDA, f"-I{PLUGIN}"]
    compiler = [os.environ.get("CXX", "c++"), "-std=c++17", "-O0", "-fPIC", "-fvisibility=hidden", *headers]
    for source in (folder / "kernels.cpp", PLUGIN / "driver.cpp"):
        subprocess.run([*compiler, "-c", source, "-o", folder / f"{source.stem}.o"], check=True)
    parts = [SOURCES / "operator.cpp", folder / "kernels.o", folder / "driver.o"]
    shared = ["-shared", f"-Wl,--version-script={SOURCES / 'exports.map'}", "-Wl,--no-undefined", "-ldl"]
    for name, provider in (("cpu", ["-DDEEPVIT_PROVIDER=nullptr"]), ("cuda", [])):
        warn = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-DORT_API_MANUAL_INIT"]
        subprocess.run([*compiler, *warn, *provider, *parts, *shared, "-o", folder / f"{name}.so"], check=True)
    driver = ["-shared", "-Wl,-soname,libcuda.so.1", HERE / "recording_driver.c", "-o", folder / "libcuda.so.1"]
    subprocess.run([os.environ.get("CC", "cc"), "-fPIC", "-isystem", CUDA, *driver], check=True)
    return folder


@pytest.fixture
def run(built, tmp_path):
    """What became of a node, and what was launched."""

    def run(library, number, *sizes, capability="9.0", driver=True):
        major, minor = capability.split(".")
        own = {"LAUNCHES": str(tmp_path / "launches"), "MAJOR": major, "MINOR": minor, "PYTHONPATH": str(ROOT)}
        path = {"LD_LIBRARY_PATH": str(built)} if driver else {}
        command = [sys.executable, HERE / "operator_session.py", library and built / library, number, *map(str, sizes)]
        done = subprocess.run(command, env=os.environ | own | path, capture_output=True, text=True, check=True)
        launches = tmp_path / "launches"
        lines = launches.read_text().splitlines() if launches.exists() else []
        return json.loads(done.stdout), [line.split() for line in lines]

    return run


@needs_headers
@pytest.mark.parametrize(
    ("number", "batch", "capability", "rows"),
    [("fp16", 3, "9.0", 16), ("bf16", 200, "8.9", 32)],
)
def test_it_is_taken_in_the_place_of_the_body_and_launches_what_the_table_says(run, number, batch, capability, rows):
    found, launches = run("cpu.so", number, 4, 24, 26, 32, 30, batch, capability=capability)
    assert found.get("error") is None
    assert found["shape"] == [batch, 30, 96]
    (kernel,) = [each for each in KERNELS if (each.number.name.lower(), each.width, each.rows) == (number, 24, rows)]
    ((name, *sizes, q, theta, bias, channels, scale, stored, queries),) = launches
    assert (name, [*map(int, sizes)]) == (
        kernel.name, [*kernel.grid(30, batch), kernel.threads, kernel.shared_bytes]
    )  # fmt: skip
    assert (int(stored), int(queries), float(scale)) == (32, 30, pytest.approx(0.5 * math.log2(math.e), rel=1e-5))
    given = [float(theta), float(bias), float(channels)]
    assert given == pytest.approx([found["feeds"][name] for name in ("theta", "bias", "channels")], rel=1e-4)
    if number == "fp16":
        assert np.uint16(q).view(np.float16) == np.float16(found["feeds"]["qkv"])
        assert found["first"] == HALF_42


@needs_headers
def test_without_the_library_the_body_is_computed(run):
    found, launches = run("", "fp16", 4, 24, 26, 32, 32, 3)
    assert launches == [] and found["first"] != HALF_42


@needs_headers
@pytest.mark.parametrize(
    ("sizes", "capability", "driver", "told"),
    [
        ((4, 16, 26, 32, 32, 1), "9.0", True, "no kernel for 4 heads of width 16 over 26 tokens in FP16 for compute"),
        ((4, 24, 26, 32, 32, 1), "7.5", True, "no kernels for compute capability 7.5 are in this library"),
        ((4, 24, 26, 32, 32, 1), "9.0", False, "NVIDIA's driver is needed"),
    ],
)
def test_what_it_has_no_kernel_for_is_refused_by_name(run, sizes, capability, driver, told):
    found, launches = run("cpu.so", "fp16", *sizes, capability=capability, driver=driver)
    assert launches == []
    assert f"deepvit::ReAttention: {told}" in found["error"]


@needs_headers
def test_that_for_cuda_registers_and_does_not_run_on_the_cpu(run, built):
    found, launches = run("cuda.so", "fp16", 4, 24, 26, 32, 32, 3)
    assert launches == [] and "ReAttention" in found["error"]
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", built / "cuda.so"], capture_output=True, text=True, check=True
    )
    assert [line.split()[-1] for line in symbols.stdout.splitlines()] == ["RegisterCustomOps"]
