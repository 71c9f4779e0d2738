"""What only a GPU can show. Every test here is skipped where there is none."""

import copy

import numpy as np
import pytest
import torch

from deepvit.export.engine.add import add_engine
from deepvit.export.engine.choice import RTX_CAPABILITIES
from deepvit.export.engine.fast_types import fast_types
from deepvit.export.engine.options import EngineOptions
from deepvit.export.options import ExportOptions, GraphOptions
from deepvit.export.pipeline import export_artifact
from deepvit.metrics.distance import sqnr_db
from deepvit.runtime.artifact.manifest import Backend, Precision
from deepvit.runtime.opening import open_session
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.ort.graph import providers
from deepvit.runtime.ort.providers import PLUGIN_TAKES, plugin_takes
from deepvit.runtime.trt.driver import has_cuda_python
from deepvit.runtime.trt.library import installed_version
from deepvit.runtime.trt.machine import this_machine

pytestmark = pytest.mark.gpu
SQNR_DB = 40.0  # FP16 on a GPU against FP16 as the CPU rounds it
FP32_BOUND = 1e-3  # float32 with TF32 off, sums in another order


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(11, 3, 32, 32)).astype(np.float32)


def assert_close(got, expected, least=SQNR_DB):
    wide, difference = expected.astype(np.float64), got.astype(np.float64) - expected
    measured = sqnr_db(float((wide**2).sum()), float((difference**2).sum()))
    assert measured is None or measured >= least


def require(condition, reason):
    if not condition:
        pytest.skip(reason)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "tensorrt-rtx"])
def test_onnxruntime_on_the_gpu_gives_what_the_cpu_gives(tiny_artifact, images, provider):
    require(provider in providers(), f"this ONNX Runtime has no provider {provider}")
    if provider == "tensorrt-rtx":
        require(plugin_takes(this_machine().compute_capability), PLUGIN_TAKES)
    assert_close(
        open_session(tiny_artifact, provider).run(images),
        open_session(tiny_artifact, "cpu", arithmetic=Arithmetic.AS_DECLARED).run(images),
    )


def test_pytorch_on_the_gpu_gives_what_the_cpu_gives(tiny_loaded, images):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    there = copy.deepcopy(tiny_loaded.module).to("cuda")  # the shared module keeps its weights, outside inference mode
    with torch.inference_mode():
        expected = tiny_loaded.module(torch.from_numpy(images))
        got = there(torch.from_numpy(images).cuda()).cpu()
    assert not any(weight.is_inference() or weight.is_cuda for weight in tiny_loaded.module.parameters())
    assert (got - expected).abs().max() <= FP32_BOUND


@pytest.mark.parametrize("backend", list(Backend), ids=lambda backend: backend.value)
@pytest.mark.parametrize("changes", [{}, {"weight_stripped": True}], ids=["whole", "stripped"])
def test_an_engine_is_built_proved_and_run(tiny_artifact, tmp_path, images, backend, changes):
    import shutil

    require(installed_version(backend) is not None, f"{backend.value} is not installed")
    require(has_cuda_python(), "cuda-python is not installed")
    if backend is Backend.TENSORRT_RTX:
        require(this_machine().compute_capability in RTX_CAPABILITIES, "TensorRT-RTX takes RTX cards")
    folder = shutil.copytree(tiny_artifact, tmp_path / "a")
    artifact = add_engine(folder, EngineOptions(backend=backend, **changes), lambda phase, share: None)
    assert artifact.manifest.engines[0].census.engine
    assert artifact.manifest.parity[-1].stage == f"engine-{backend.value}"
    session = open_session(folder / backend.plan)
    expected = open_session(folder, "cpu", arithmetic=Arithmetic.AS_DECLARED).run(images)
    for _ in range(3):  # plain, recorded, replayed
        assert_close(session.run(images), expected)
    session.close()


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP8], ids=lambda precision: precision.value)
def test_a_quantised_engine_is_built_proved_and_run(tiny_loaded, tmp_path, images, precision):
    require(installed_version(Backend.TENSORRT) is not None, "tensorrt is not installed")
    require(has_cuda_python(), "cuda-python is not installed")
    capability = this_machine().compute_capability
    require(precision.value in fast_types(capability), f"compute capability {capability} has no fast {precision.value}")
    folder = tmp_path / "a"
    export_artifact(tiny_loaded, ExportOptions(graph=GraphOptions(precision=precision), output=folder))
    artifact = add_engine(folder, EngineOptions(backend=Backend.TENSORRT), lambda phase, share: None)
    assert artifact.manifest.engines[0].census.network["MATRIX_MULTIPLY HALF of quantised"] == 8
    session = open_session(folder / "engine.plan")
    assert_close(
        session.run(images), open_session(folder, "cpu", arithmetic=Arithmetic.AS_DECLARED).run(images), least=20.0
    )
    session.close()
