"""Sessions: splitting, shapes, providers, damaged graphs."""

import random

import numpy as np
import pytest

from deepvit.measure.torch_session import TorchSession
from deepvit.runtime.artifact import MODEL
from deepvit.runtime.errors import InputError, MissingError, OutOfBoundsError
from deepvit.runtime.manifest import BatchRange
from deepvit.runtime.ort.providers import CPU, TENSORRT, TENSORRT_RTX, options_of, plugin_library
from deepvit.runtime.ort.session import OnnxRuntimeSession
from deepvit.runtime.session import open_session
from tests.doubles.tiny_models import pixels


@pytest.fixture
def images():
    return (pixels((7, 3, 32, 32)) / 127.5 - 1).astype(np.float32)


def test_batches_are_split_and_padded(tiny_artifact, images):
    whole = open_session(tiny_artifact).run(images)
    content = (tiny_artifact / MODEL).read_bytes()
    for batch in (BatchRange(min=1, opt=2, max=2), BatchRange(min=4, opt=4, max=4)):
        assert np.abs(OnnxRuntimeSession(content, name="m", batch=batch).run(images) - whole).max() < 1e-3


def test_wrong_images_are_refused(tiny_artifact, images):
    session = open_session(tiny_artifact)
    for wrong in (images[:0], images[..., :31], images.astype(np.float64), images[0], images.transpose(0, 2, 3, 1)):
        with pytest.raises(InputError, match="expected float32"):
            session.run(wrong)


def test_providers(tiny_artifact):
    assert open_session(tiny_artifact).description.endswith("CPUExecutionProvider")
    with pytest.raises(MissingError, match="no provider 'tpu', only .*cpu"):
        open_session(tiny_artifact, provider="tpu")


def test_a_plan_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist; build it"):
        open_session(tmp_path / "engine.plan")


def test_options_of_the_providers_that_build_engines(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path))
    shape, batch = ("batch", 3, 32, 32), BatchRange(min=1, opt=4, max=8)
    for provider, prefix, folder in (
        (TENSORRT, "trt", "trt_engine_cache_path"),
        (TENSORRT_RTX, "nv", "nv_runtime_cache_path"),
    ):
        options = options_of(provider, b"one", "images", shape, batch)
        assert options[f"{prefix}_profile_min_shapes"] == "images:1x3x32x32"
        assert options[f"{prefix}_profile_max_shapes"] == "images:8x3x32x32"
        assert options[folder] != options_of(provider, b"two", "images", shape, batch)[folder]
        assert f"{prefix}_profile_min_shapes" not in options_of(provider, b"one", "images", (8, 3, 32, 32), batch)
    assert options_of(CPU, b"one", "images", shape, batch) == {}
    for folder in (tmp_path / "onnxruntime-tensorrt").iterdir():
        folder.chmod(0o777)
    with pytest.raises(InputError, match="can be written by others"):
        options_of(TENSORRT, b"one", "images", shape, batch)


def test_the_options_of_the_plugin_are_those_of_its_header():
    header = (plugin_library().parent / "tensorrt_rtx_provider_options.h").read_text()
    for name in options_of(TENSORRT_RTX, b"one", "images", ("batch", 3, 32, 32), BatchRange(min=1, opt=4, max=8)):
        assert f'"{name}"' in header


def test_damaged_graphs_are_refused_in_one_line(tiny_artifact, images):
    content, seed, refused = (tiny_artifact / MODEL).read_bytes(), 11, 0
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(60):
        mutant = bytearray(content)
        for _ in range(rng.randrange(20, 200)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        try:
            OnnxRuntimeSession(bytes(mutant), name="mutant").run(images)
        except (InputError, OutOfBoundsError) as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 30


def test_torch_gives_what_onnx_gives(tiny_loaded, tiny_artifact, images):
    session = TorchSession(tiny_loaded.module, (3, 32, 32), largest_batch=3)
    assert np.abs(session.run(images) - open_session(tiny_artifact).run(images)).max() < 0.05
    with pytest.raises(InputError):
        session.run(images[:, :2])
