"""`import runtime` is light."""

import json
import subprocess
import sys

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
        "import sys, deepvit.export.engine.add, deepvit.export.engine.worker, deepvit.runtime.trt.session;"
        "assert not {'torch', 'timm', 'deepvit.model', 'tensorrt'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
