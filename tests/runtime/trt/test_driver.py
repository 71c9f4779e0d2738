"""Whether cuda-python is there, asked where there is none; what CUDA the driver takes and the library wants."""

import ast
import ctypes
import importlib
import importlib.metadata
import sys
import types

import pytest
from cuda.bindings import runtime as cudart

from deepvit.runtime.artifact.manifest import Backend
from deepvit.runtime.errors import DeviceError, MissingError
from deepvit.runtime.trt.cuda import _none
from deepvit.runtime.trt.driver import cuda_of_driver, cuda_of_library, has_cuda_python
from tests.places import ROOT, files_of_the_tree


def _dotted_lookups(source):
    """Calls of find_spec with a dotted name: it imports the package, and raises where there is none."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("find_spec")
        and any(isinstance(a, ast.Constant) and "." in str(a.value) for a in node.args)
    ]


def test_it_is_missing_where_there_is_no_package_cuda(tmp_path, monkeypatch):
    assert has_cuda_python()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in [name for name in sys.modules if name.partition(".")[0] == "cuda"]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()
    assert not has_cuda_python()


def test_nobody_else_asks_for_a_module_within_a_package():
    sources = [path for name in files_of_the_tree() if (path := ROOT / name).suffix == ".py"]
    found = {path.relative_to(ROOT).as_posix(): _dotted_lookups(path.read_text(encoding="utf-8")) for path in sources}
    assert {name: calls for name, calls in found.items() if calls} == {
        "runtime/trt/driver.py": ["importlib.util.find_spec('cuda.bindings')"]
    }
    assert _dotted_lookups("find_spec('cuda')") == []


def test_the_cuda_of_a_library_is_that_of_its_package(monkeypatch):
    installed = {"tensorrt-cu12-bindings": "10.13.0", "tensorrt-rtx-cu13-bindings": "1.7.1.116", "tensorrt": "10.13.0"}

    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert [cuda_of_library(backend) for backend in (Backend.TENSORRT, Backend.TENSORRT_RTX)] == [12, 13]
    del installed["tensorrt-cu12-bindings"]
    assert cuda_of_library(Backend.TENSORRT) is None


def test_the_cuda_of_a_driver_is_what_its_library_says(monkeypatch):
    def driver(failed, version):
        def ask(pointer):
            pointer._obj.value = version
            return failed

        return lambda _: types.SimpleNamespace(cuDriverGetVersion=ask)

    monkeypatch.setattr(ctypes, "CDLL", driver(0, 13020))
    assert cuda_of_driver() == (13, 2)
    monkeypatch.setattr(ctypes, "CDLL", driver(999, 0))
    assert cuda_of_driver() is None

    def absent(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert cuda_of_driver() is None


def test_a_driver_that_is_too_old_is_said_as_such():
    with pytest.raises(
        MissingError, match="could not find a GPU: .*update NVIDIA's driver: CUDA 13 wants 580 or newer"
    ):
        _none((cudart.cudaError_t.cudaErrorInsufficientDriver,), "find a GPU")
    with pytest.raises(DeviceError, match=r"could not use GPU 0: .*\(cudaErrorInvalidDevice\)"):
        _none((cudart.cudaError_t.cudaErrorInvalidDevice,), "use GPU 0")
