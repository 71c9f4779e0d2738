"""Which GPU ONNX Runtime's providers of NVIDIA's run on: the one that engines would."""

from types import SimpleNamespace

import pytest

from deepvit.runtime.artifact import MODEL
from deepvit.runtime.artifact.manifest import BatchRange
from deepvit.runtime.errors import MissingError
from deepvit.runtime.opening import open_session
from deepvit.runtime.ort import graph
from deepvit.runtime.ort.providers import TENSORRT_RTX, TF32_OVERRIDE
from deepvit.runtime.ort.session import OnnxRuntimeSession

NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
BATCH = BatchRange(min=1, opt=4, max=8)


def plugin_device(bus):
    return SimpleNamespace(device=SimpleNamespace(metadata={} if bus is None else {"pci_bus_id": bus}), bus=bus)


@pytest.fixture(autouse=True)
def providers(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path))
    monkeypatch.setenv(TF32_OVERRIDE, "0")
    monkeypatch.setattr(graph, "providers", lambda: NAMES)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
@pytest.mark.parametrize("device", [0, 3])
def test_the_provider_is_told(tiny_artifact, provider, device):
    content = (tiny_artifact / MODEL).read_bytes()
    configured = graph._configure(graph.ort.SessionOptions(), provider, content, BATCH, device)
    assert [name for name, _ in configured] == [*dict.fromkeys([NAMES[provider], NAMES["cuda"]])]
    assert [options["device_id"] for _, options in configured] == [str(device)] * len(configured)


def test_the_plugin_is_handed_the_gpu_that_cuda_counts_so(monkeypatch):
    buses = ["0000:3b:00.0", "0000:65:00.0", "0000:af:00.0"]  # the second is none that the plugin takes
    monkeypatch.setattr(graph, "pci_bus_of", lambda device: buses[device])
    devices = [plugin_device("0000:AF:00.0"), plugin_device("0000:3B:00.0")]
    assert [graph.device_at(device, devices).bus for device in (0, 2)] == ["0000:3B:00.0", "0000:AF:00.0"]
    with pytest.raises(MissingError, match="cannot use GPU 1, at 0000:65:00.0: it takes RTX cards.*CUDA_VISIBLE_DEV"):
        graph.device_at(1, devices)


def test_where_nobody_says_which_gpu_is_where(monkeypatch):
    def unknown(device):
        raise LookupError("no nvidia-smi here")

    monkeypatch.setattr(graph, "pci_bus_of", unknown)
    for devices, why in (
        ([plugin_device("0000:AF:00.0")], "no nvidia-smi here"),
        ([plugin_device(None)], "does not say where its GPUs are"),
    ):
        assert graph.device_at(0, devices) is devices[0]
        with pytest.raises(MissingError, match=f"which GPU is number 1 cannot be told: .*{why}"):
            graph.device_at(1, devices)


@pytest.mark.parametrize("opened", ["artifact", "file", "lone"])
def test_a_session_hands_it_on(tiny_artifact, tmp_path, monkeypatch, opened):
    asked = []
    configure = graph._configure
    monkeypatch.setattr(graph, "_configure", lambda *given: asked.append(given[-1]) or configure(*given))
    lone = tmp_path / "lone.onnx"
    lone.write_bytes((tiny_artifact / MODEL).read_bytes())
    open_session({"artifact": tiny_artifact, "file": tiny_artifact / MODEL, "lone": lone}[opened], "cpu", device=2)
    assert asked == [2]


def test_a_gpu_that_is_not_there_is_missing(tiny_artifact, monkeypatch):
    def refuse(*_given, **_named):
        raise graph.ort_errors.Fail("[ONNXRuntimeError] : 1 : FAIL : Invalid device ID: 7, must be between 0 (inclus")

    monkeypatch.setattr(graph.ort, "InferenceSession", refuse)
    with pytest.raises(MissingError, match="cuda finds no GPU 7 here: .*Invalid device ID: 7"):
        OnnxRuntimeSession((tiny_artifact / MODEL).read_bytes(), name="m", provider="cuda", device=7)


def test_the_plugins_device_is_chosen(tiny_artifact, monkeypatch):
    chosen = []
    monkeypatch.setattr(graph, "_plugin_device", lambda device: chosen.append(device))
    monkeypatch.setattr(graph.ort.SessionOptions, "add_provider_for_devices", lambda *_: None)
    graph._configure(graph.ort.SessionOptions(), TENSORRT_RTX, (tiny_artifact / MODEL).read_bytes(), BATCH, 1)
    assert chosen == [1]
