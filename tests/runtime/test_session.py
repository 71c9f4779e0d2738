"""Sessions: splitting, shapes, providers, damaged graphs."""

import json
import random
import re
import shutil

import numpy as np
import onnx
import pytest
import torch

from deepvit.measure.torch_session import TorchSession
from deepvit.runtime.artifact import MANIFEST, MODEL, open_artifact
from deepvit.runtime.artifact.manifest import BatchRange, identity
from deepvit.runtime.errors import InputError, MissingError, OutOfBoundsError
from deepvit.runtime.opening import open_session
from deepvit.runtime.ort.providers import CPU, TENSORRT, TENSORRT_RTX, options_of, plugin_library, plugin_takes
from deepvit.runtime.ort.session import OnnxRuntimeSession
from tests.doubles.changed_artifact import rehash_artifact, replace_weights
from tests.doubles.tiny_models import pixels


@pytest.fixture
def images():
    return (pixels((7, 3, 32, 32)) / 127.5 - 1).astype(np.float32)


def test_batches_are_split_and_padded(tiny_artifact, images):
    whole = open_session(tiny_artifact, "cpu").run(images)
    content = (tiny_artifact / MODEL).read_bytes()
    for batch in (BatchRange(min=1, opt=2, max=2), BatchRange(min=4, opt=4, max=4)):
        assert np.abs(OnnxRuntimeSession(content, name="m", batch=batch).run(images) - whole).max() < 1e-3


def test_wrong_images_are_refused(tiny_artifact, images):
    session = open_session(tiny_artifact)
    for wrong in (images[:0], images[..., :31], images.astype(np.float64), images[0], images.transpose(0, 2, 3, 1)):
        with pytest.raises(InputError, match="expected float32"):
            session.run(wrong)


def test_providers(tiny_artifact):
    assert open_session(tiny_artifact, "cpu").description.endswith("CPUExecutionProvider")
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
    for folder in (tmp_path / "onnxruntime-tensorrt-ieee").iterdir():
        folder.chmod(0o777)
    with pytest.raises(InputError, match="can be written by others"):
        options_of(TENSORRT, b"one", "images", shape, batch)


def test_float32_is_float32_on_a_gpu(tmp_path, monkeypatch, tiny_artifact):
    """ONNX Runtime's CUDA provider computes FP32 in TF32 unless it is told not to; it is the fallback of TensorRT's."""
    from deepvit.runtime.ort import graph

    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    names = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
    monkeypatch.setattr(graph, "providers", lambda: names)
    content, batch = (tiny_artifact / MODEL).read_bytes(), BatchRange(min=1, opt=4, max=8)
    for provider in ("cuda", "tensorrt"):
        configured = graph._configure(graph.ort.SessionOptions(), provider, content, batch)
        assert configured[-1] == ("CUDAExecutionProvider", {"use_tf32": "0", "device_id": "0"})
    assert graph._configure(graph.ort.SessionOptions(), "cpu", content, batch) == ["CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("capability", "is_taken"),
    [("7.5", False), ("8.0", False), ("8.6", True), ("8.9", True), ("9.0", False), ("10.0", False), ("12.0", True),
     ("12.1", True), ("13.0", True)],
)  # fmt: skip
def test_which_gpus_the_plugin_takes(capability, is_taken):
    """Fewer than TensorRT-RTX builds for; its header names those before 12.0, from which on it takes all."""
    header = (plugin_library().parent / "tensorrt_rtx_provider_options.h").read_text()
    (named,) = re.findall(r"kTargetSMValues\[\] = \{([^}]*)\}", header)
    assert plugin_takes(capability) is is_taken
    assert is_taken is (f'"sm{capability.replace(".", "")}"' in named or float(capability) >= 12)


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


@pytest.mark.parametrize(("dtype", "is_taken_away"), [("float32", True), ("float16", False)])
def test_pytorch_in_float32_on_a_gpu_does_not_compute_in_tf32(monkeypatch, dtype, is_taken_away):
    class Everywhere(torch.nn.Linear):
        def to(self, *arguments, **options):
            return self  # there is no GPU to be moved to

    settings = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [each.allow_tf32 for each in settings]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    try:
        for each in settings:
            each.allow_tf32 = True  # PyTorch's default for convolutions, the environment's for products
        TorchSession(Everywhere(1, 1), (3, 32, 32), "cpu", classes=1)
        assert all(each.allow_tf32 for each in settings)
        TorchSession(Everywhere(1, 1), (3, 32, 32), "cuda", classes=1, dtype=dtype)
        assert [each.allow_tf32 for each in settings] == 2 * [not is_taken_away]
    finally:
        for each, value in zip(settings, before):
            each.allow_tf32 = value


def test_torch_gives_what_onnx_gives(tiny_loaded, tiny_artifact, images):
    session = TorchSession(tiny_loaded.module, (3, 32, 32), largest_batch=3)
    assert np.abs(session.run(images) - open_session(tiny_artifact).run(images)).max() < 0.05
    with pytest.raises(InputError):
        session.run(images[:, :2])


@pytest.fixture
def edited(tiny_artifact, tmp_path):
    """A function: changes → a copy of the artifact with those in its manifest."""

    def edit(change, strip=False):
        folder = shutil.copytree(tiny_artifact, tmp_path / "edited", dirs_exist_ok=True)
        if strip:
            model = onnx.load(folder / MODEL)
            del model.metadata_props[:]
            onnx.save(model, folder / MODEL)
        manifest = json.loads((tiny_artifact / MANIFEST).read_text())
        change(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest))
        rehash_artifact(folder)
        return folder

    return edit


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m: m["preprocess"].update(mean=[0.9] * 3, std=[0.1] * 3), "preprocess.mean is [0.9, 0.9, 0.9] by the"),
        (lambda m: m["preprocess"].update(std=[0.5, 0.5, 0.51]), "preprocess.std"),
        (lambda m: m["preprocess"].update(resize=m["preprocess"]["resize"] + 1), "preprocess.resize"),
        (lambda m: m["preprocess"].update(interpolation="bilinear"), 'preprocess.interpolation is "bilinear" by the'),
        (lambda m: m.update(classes=6, output=m["output"] | {"shape": ["batch", 6]}), "golden has 5 logits"),
        (lambda m: m.update(precision="fp32"), 'precision is "fp32" by the manifest, "fp16" by the graph'),
        (lambda m: m.update(variant="deepvit_32"), 'variant is "deepvit_32" by the manifest, "tiny_cnn" by the graph'),
        (lambda m: m["weights"].update(sha256="1" * 64), "weights.sha256"),
        (lambda m: m["weights"].update(source="checkpoint", seed=None), "weights.source"),
        (lambda m: m["input"].update(name="pixels"), "input.name"),
        (lambda m: m["output"].update(name="scores"), "output.name"),
        (lambda m: m["golden"]["logits"].reverse(), "gives logits for the golden image that are"),
        (lambda m: m["golden"].update(input_sha256="1" * 64), "preprocess makes another input of the golden image"),
        (lambda m: m.pop("golden"), f"{MANIFEST} has no golden, the other of both does"),
    ],
)
def test_a_manifest_that_is_not_the_graphs_is_refused(edited, change, named):
    with pytest.raises(InputError) as caught:
        open_session(edited(change))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_graph_that_does_not_say_what_it_is(edited, images):
    with pytest.raises(InputError, match="model.onnx does not say what it is"):
        open_session(edited(lambda m: None, strip=True))
    assert open_session(edited(lambda m: m.pop("golden"), strip=True)).run(images).shape == (7, 5)  # an older artifact


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ('{"a":' * 200_000 + "1" + "}" * 200_000, "the graph says it in 1200001 bytes, expected at most 1048576"),
        ('{"schema":1,"schema":1}', "the graph says it with a fault: schema stands there twice"),
        ('{"a":' * 9 + "1" + "}" * 9, "the graph says it nested more than 8 deep"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "the graph says it nested more than 8 deep"),
        ('{"a":' + "[" * 900 + "]" * 900 + "}", "the graph says it nested more than 8 deep"),
        ("[" * 60_000, "the graph says it nested more than 8 deep"),
        ('{"a":"' + "x" * 60_000 + '"}', '"xxx'),
        ('{"' + "x" * 60_000 + '":1}', "… is null by the manifest, 1 by the graph"),
    ],
)
def test_what_a_hostile_graph_says_of_itself(tiny_artifact, said, fault):
    differences = open_artifact(tiny_artifact).manifest.differences(said)
    assert any(fault in difference for difference in differences)
    assert max(len(difference) for difference in differences) < 350


def test_another_models_weights_are_refused_by_the_golden_logits(edited):
    folder = edited(lambda m: None)
    open_session(folder).close()
    replace_weights(folder / MODEL)
    rehash_artifact(folder)
    with pytest.raises(InputError, match=r"for the golden image that are -?[\d.]+ dB.*at least 35.0 dB"):
        open_session(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("resize_and_crop", lambda original: lambda image, p: original(image, p)[..., ::-1]),
        ("resize_and_crop", lambda original: lambda image, p: original(image.reduce(2), p)),
        ("model_input", lambda original: lambda crops, p, channels: original(crops, p, channels) * np.float32(1.001)),
        ("model_input", lambda original: lambda crops, p, channels: original(crops, p, channels).swapaxes(2, 3)),
    ],
)
def test_errors_in_the_code_of_preprocessing_are_seen_on_opening(tiny_artifact, monkeypatch, name, change):
    monkeypatch.setattr(identity, name, change(getattr(identity, name)))
    with pytest.raises(InputError, match="preprocess makes another input of the golden image"):
        open_session(tiny_artifact)
