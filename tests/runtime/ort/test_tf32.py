"""FP32 is FP32 in the providers that build engines, which have no option for it."""

import subprocess
import sys

import pytest

from deepvit.runtime.artifact.manifest import BatchRange
from deepvit.runtime.ort import graph
from deepvit.runtime.ort.providers import CPU, CUDA, TENSORRT, TENSORRT_RTX, TF32_OVERRIDE, forbid_tf32, options_of
from tests.places import ROOT

BATCH = BatchRange(min=1, opt=4, max=8)
# The builder as the providers use it: nobody touches its flags, of which TF32 is one that is set.
BUILD = """
import sys
import onnx
from onnx import TensorProto, helper
from deepvit.runtime.artifact.manifest import Backend
from deepvit.runtime.ort.providers import TENSORRT_RTX, forbid_tf32
from deepvit.runtime.trt.library import load_library

if sys.argv[1] == "forbidden":
    forbid_tf32(TENSORRT_RTX)
trt = load_library(Backend.TENSORRT_RTX).trt


class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)

    def log(self, severity, message):
        print(message)


log = Log()
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, 64]) for name in "xy")
nodes = [helper.make_node("MatMul", ["x", "x"], ["y"])]
model = helper.make_model(
    helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
)
builder = trt.Builder(log)
network, config = builder.create_network(0), builder.create_builder_config()
assert trt.OnnxParser(network, log).parse(model.SerializeToString())
assert config.get_flag(trt.BuilderFlag.TF32)
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM89, 0)
assert builder.build_serialized_network(network, config) is not None
"""


@pytest.mark.parametrize(("choice", "is_off"), [("forbidden", True), ("left alone", False)])
def test_the_real_builder_is_without_it(monkeypatch, choice, is_off):
    """Left alone, the negative control, it has TF32."""
    monkeypatch.delenv(TF32_OVERRIDE, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    built = subprocess.run([sys.executable, "-c", BUILD, choice], capture_output=True, text=True, check=True)
    assert ("Disabling TF32" in built.stdout) is is_off


@pytest.mark.parametrize("provider", [TENSORRT, TENSORRT_RTX])
def test_it_is_forbidden_before_the_provider_is_asked_for(tmp_path, monkeypatch, tiny_fp32, provider):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path))
    monkeypatch.setenv(TF32_OVERRIDE, "")
    monkeypatch.delenv(TF32_OVERRIDE)
    seen = []
    monkeypatch.setattr(graph, "providers", lambda: {"cpu": "CPUExecutionProvider", "tensorrt": "T", "cuda": "C"})
    monkeypatch.setattr(graph, "options_of", lambda *_: seen.append(graph.os.environ.get(TF32_OVERRIDE)) or {})
    monkeypatch.setattr(graph, "_plugin_device", lambda *_: None)
    monkeypatch.setattr(graph.ort.SessionOptions, "add_provider_for_devices", lambda *_: None)
    graph._configure(graph.ort.SessionOptions(), provider, tiny_fp32, BATCH)
    assert seen == ["0"]


def test_other_providers_leave_the_process_alone(monkeypatch):
    monkeypatch.setenv(TF32_OVERRIDE, "")
    monkeypatch.delenv(TF32_OVERRIDE)
    for provider in (CPU, CUDA):
        forbid_tf32(provider)
    assert TF32_OVERRIDE not in graph.os.environ


@pytest.mark.parametrize(("chosen", "is_warned"), [("1", True), ("0", False)])
def test_who_chose_otherwise_is_told(monkeypatch, caplog, chosen, is_warned):
    monkeypatch.setenv(TF32_OVERRIDE, chosen)
    forbid_tf32(TENSORRT)
    assert (f"{TF32_OVERRIDE}={chosen}: tensorrt may compute FP32 in TF32" in caplog.text) is is_warned
    assert graph.os.environ[TF32_OVERRIDE] == chosen


def test_engines_of_earlier_versions_are_not_met(tmp_path, monkeypatch):
    """They were built with TF32, and lie under the same graph's hash."""
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path))
    for provider, name in ((TENSORRT, "trt_engine_cache_path"), (TENSORRT_RTX, "nv_runtime_cache_path")):
        folder = options_of(provider, b"one", "images", ("batch", 3, 32, 32), BATCH)[name]
        assert folder.startswith(str(tmp_path / f"onnxruntime-{provider}-ieee"))


@pytest.fixture
def tiny_fp32(tiny_artifact):
    return (tiny_artifact / "model.onnx").read_bytes()
