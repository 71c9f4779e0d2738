"""`import runtime` is light, and only what runs a network in PyTorch loads PyTorch."""

import json
import subprocess
import sys

from tests.contracts.packages import module_of, sources
from tests.places import ROOT

HEAVY = ("torch", "tensorrt", "timm", "onnx", "onnxruntime", "deepvit", "export")


def test_import_runtime_loads_nothing_heavy():
    code = f"import json, sys, runtime; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []


def test_a_session_runs_without_torch(tiny_artifact):
    code = (
        "import sys, numpy, runtime; s = runtime.open_session(sys.argv[1]);"
        "assert s.run(numpy.zeros((3, 3, 32, 32), 'f4')).shape == (3, 5); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_artifact)], cwd=ROOT, check=True)


def test_building_and_running_engines_needs_no_torch():
    code = (
        "import sys, deepvit.export.engine.add, deepvit.export.engine.building.worker, deepvit.runtime.trt.session;"
        "assert not {'torch', 'timm', 'deepvit.model', 'tensorrt'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


PYTORCH = {"deepvit.measure.attention.torch_maps", "deepvit.measure.sensitivity", "deepvit.measure.torch_session"}
LEFT_OUT = (
    "torch",
    "torchvision",
    "timm",
    "onnxscript",
    "onnx_ir",
    "safetensors",
    "matplotlib",
    "jinja2",
    "gdown",
    "scipy",
    "fsspec",
    "pyarrow",
    "ray",
)


def test_what_only_reads_artifacts_loads_nothing_that_can_be_left_out():
    modules = [
        name
        for package in ("images", "metrics", "runtime", "calibration", "measure", "classify", "commands")
        for path in sources(package)
        if not (name := module_of(path, package)).startswith("deepvit.runtime.triton.serving") and name not in PYTORCH
    ]
    assert len(modules) > 100
    code = (
        "import importlib, json, sys\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "from deepvit.images.class_names import default_names; default_names(1000)\n"
        f"print(json.dumps([name for name in {LEFT_OUT} if name in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []
