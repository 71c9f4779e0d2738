"""What is asked of a plan before TensorRT sees a byte of it: its hash, its manifest, and whether it fits the machine."""

import dataclasses
import json
import os
import pathlib
import random
import shutil
import stat
from types import SimpleNamespace

import numpy as np
import pytest

import deepvit.runtime.opening.session
import deepvit.runtime.trt.cuda
import deepvit.runtime.trt.session
from deepvit.runtime.artifact import MANIFEST, open_artifact, record_file
from deepvit.runtime.artifact.manifest import (
    Backend,
    BatchRange,
    Census,
    Engine,
    EnginePlugin,
    HardwareCompatibility,
    ReattentionForm,
)
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.kernels.plugin_record import NO_PLUGIN, VARIABLE
from deepvit.runtime.opening import open_session
from deepvit.runtime.trt import plugin
from deepvit.runtime.trt.fit import misfits
from deepvit.runtime.trt.machine import this_machine
from tests.doubles.fake_gpu import HERE, PLAN, FakeCuda, Runtime, expected_logits, fake_library
from tests.runtime.kernels.named_plugin import CONTENT, RECORD, write_plugin

ENGINE = Engine(
    file="engine.plan", backend="tensorrt", version="11.4.0.106", compute_capability="8.9", gpu="NVIDIA Test",
    driver="580.82.07", profile=BatchRange(min=1, opt=4, max=8), census=Census(network={}),
)  # fmt: skip


def with_plan(artifact, folder, plan=PLAN, *, golden=None, **changes):
    """A copy of `artifact` with a plan, as `build` leaves it; its golden logits are `golden`, or whatever comes."""
    shutil.copytree(artifact, folder)
    (folder / "engine.plan").write_bytes(plan)
    manifest = open_artifact(folder).manifest
    manifest = manifest.model_copy(
        update={
            "engines": (ENGINE.model_copy(update=changes),),
            "files": manifest.files | {"engine.plan": record_file(folder / "engine.plan")},
            "golden": manifest.golden.model_copy(update={"sqnr_db": -1000.0} if golden is None else {"logits": golden}),
        }
    )
    (folder / MANIFEST).write_text(manifest.to_json())
    return folder


@pytest.fixture
def gpu(monkeypatch):
    """This machine with a GPU; the list gets every backend that was loaded."""
    loaded = []
    monkeypatch.setattr(
        deepvit.runtime.trt.session, "load_library", lambda backend: loaded.append(backend) or fake_library()
    )
    monkeypatch.setattr(deepvit.runtime.trt.cuda, "Cuda", FakeCuda)
    for module in (deepvit.runtime.trt.session, deepvit.runtime.opening.session):
        monkeypatch.setattr(module, "this_machine", lambda device: HERE)
    return loaded


def test_a_verified_plan_runs_and_the_folder_prefers_it(tiny_artifact, tmp_path, gpu):
    folder = with_plan(tiny_artifact, tmp_path / "a")
    images = np.random.default_rng(0).normal(size=(11, 3, 32, 32)).astype(np.float32)
    for path in (folder / "engine.plan", folder):
        session = open_session(path)
        assert np.allclose(session.run(images), expected_logits(PLAN, images), atol=1e-3)
        assert session.description == "tensorrt 11.4.0.106 on compute capability 8.9"
    assert " CPU" in open_session(folder / "model.onnx").description
    assert Runtime.latest.engine_host_code_allowed is False


def test_a_plan_must_give_the_golden_logits(tiny_artifact, tmp_path, gpu):
    right = expected_logits(PLAN, open_artifact(tiny_artifact).manifest.golden_input)[0]
    open_session(with_plan(tiny_artifact, tmp_path / "right", golden=tuple(map(float, right))))
    folder = with_plan(tiny_artifact, tmp_path / "wrong", golden=tuple(map(float, right[::-1])))
    with pytest.raises(InputError, match=r"engine.plan gives logits for the golden image that are -?[\d.]+ dB"):
        open_session(folder)
    manifest = json.loads((tmp_path / "right" / MANIFEST).read_text())
    manifest["preprocess"]["resize"] += 1
    (tmp_path / "right" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="preprocess makes another input of the golden image than at export"):
        open_session(tmp_path / "right")
    assert not any((FakeCuda.current.live, FakeCuda.current.pinned, FakeCuda.current.streams))


@pytest.fixture
def registered(gpu, monkeypatch):
    """What TensorRT's registry was given to load; it then has the layer."""
    loaded, library = [], fake_library()
    registry = SimpleNamespace(
        get_creator=lambda *names: loaded or None,
        load_library=lambda path: loaded.append(pathlib.Path(path).read_bytes()) or loaded,
    )
    library.trt.get_plugin_registry = lambda: registry
    monkeypatch.setattr(deepvit.runtime.trt.session, "load_library", lambda backend: library)
    monkeypatch.setattr(plugin, "_loaded", {})
    monkeypatch.delenv(VARIABLE, raising=False)
    Runtime.latest = None
    return loaded


def test_a_plan_of_fused_reattention_is_not_loaded_without_its_plugin(tiny_artifact, tmp_path, registered):
    folder = with_plan(tiny_artifact, tmp_path / "a")
    manifest = open_artifact(folder).manifest
    graph = manifest.graph.model_copy(update={"reattention": ReattentionForm.FUSED})
    (folder / MANIFEST).write_text(manifest.model_copy(update={"graph": graph}).to_json())
    with pytest.raises(MissingError, match="engine.plan needs the plugin of fused re-attention"):
        open_session(folder / "engine.plan")
    assert Runtime.latest is None
    registered.append(b"by somebody else")
    open_session(folder / "engine.plan")


def test_an_engine_has_its_plugin_loaded_where_the_kernels_are_those_of_its_manifest(
    tiny_artifact, tmp_path, registered, monkeypatch, caplog
):
    built_with = EnginePlugin(sha256="1" * 64, kernels_sha256=RECORD["kernels_sha256"], layer=RECORD["layer"])
    folder = with_plan(tiny_artifact, tmp_path / "a", plugin=built_with)
    engine = open_artifact(folder).manifest.engines[0]
    assert misfits(engine, HERE) == [NO_PLUGIN]
    monkeypatch.setenv(VARIABLE, str(write_plugin(tmp_path, kernels_sha256="2" * 64)))
    with pytest.raises(MissingError, match="so has kernels of SHA-256 2{64}, the engine was built with 0"):
        open_session(folder / "engine.plan")
    assert " CPU" in open_session(folder).description
    assert "not using" in caplog.text and "has kernels of SHA-256" in caplog.text
    assert (registered, Runtime.latest) == ([], None)
    write_plugin(tmp_path)
    assert misfits(engine, HERE) == []
    assert "tensorrt 11" in open_session(folder).description
    assert registered == [CONTENT]


def test_an_engine_that_needs_no_plugin_has_none_loaded(tiny_artifact, tmp_path, registered, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/no/such/plugin.so")
    open_session(with_plan(tiny_artifact, tmp_path / "a") / "engine.plan")
    assert registered == []


def test_a_thousand_mutants_never_reach_tensorrt(tiny_artifact, tmp_path, gpu):
    plan = PLAN + bytes(random.Random(1).randbytes(3000))
    folder = with_plan(tiny_artifact, tmp_path / "a", plan)
    seed = 20
    print(f"seed {seed}")
    rng = random.Random(seed)
    for index in range(1000):
        mutant = bytearray(plan)
        if index % 3 == 0:
            for _ in range(rng.randrange(1, 9)):
                mutant[rng.randrange(len(mutant))] ^= rng.randrange(1, 256)
        elif index % 3 == 1:
            del mutant[rng.randrange(len(mutant)) :]
        else:
            mutant[:] = rng.randbytes(len(mutant) if index % 2 else rng.randrange(5000))
        if bytes(mutant) == plan:
            continue
        (folder / "engine.plan").write_bytes(mutant)
        with pytest.raises(InputError, match="engine.plan has"):
            open_session(folder / "engine.plan")
    assert gpu == []
    (folder / "engine.plan").write_bytes(plan)
    open_session(folder / "engine.plan")
    assert gpu == [Backend.TENSORRT]


def test_a_swapped_plan_or_manifest_is_refused(tiny_artifact, tmp_path, gpu):
    first = with_plan(tiny_artifact, tmp_path / "a")
    second = with_plan(tiny_artifact, tmp_path / "b", PLAN + b"another")
    shutil.copy(second / "engine.plan", first / "engine.plan")
    with pytest.raises(InputError, match="has 17 bytes, expected 10"):
        open_session(first / "engine.plan")
    (first / "other.plan").write_bytes(PLAN)
    with pytest.raises(InputError, match="not part of the artifact"):
        open_session(first / "other.plan")
    manifest = json.loads((second / MANIFEST).read_text())
    manifest["engines"] = []
    (second / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="has no engine engine.plan; build it"):
        open_session(second / "engine.plan")
    assert gpu == []


def test_a_plan_without_a_manifest_needs_trust(tmp_path, gpu, caplog):
    path = tmp_path / "engine.plan"
    path.write_bytes(PLAN)
    with pytest.raises(InputError, match="executable code.*‹trust_unverified›"):
        open_session(path)
    assert gpu == []
    assert open_session(path, trust_unverified=True).classes == 5
    assert "not verified" in caplog.text
    assert Runtime.latest.engine_host_code_allowed is False


def test_host_code_is_never_allowed_unless_asked_for(tiny_artifact, tmp_path, gpu):
    folder = with_plan(tiny_artifact, tmp_path / "a", version_compatible=True)
    with pytest.raises(InputError, match="host code.*‹allow_host_code›"):
        open_session(folder / "engine.plan")
    assert gpu == []
    assert " CPU" in open_session(folder).description
    open_session(folder / "engine.plan", allow_host_code=True)
    assert Runtime.latest.engine_host_code_allowed is True


def test_a_stripped_plan_takes_its_weights_from_the_verified_onnx_file(tiny_artifact, tmp_path, gpu):
    folder = with_plan(tiny_artifact, tmp_path / "a", weight_stripped=True)
    open_session(folder / "engine.plan")
    content = bytearray((folder / "model.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match="model.onnx has SHA-256"):
        open_session(folder / "engine.plan")


@pytest.mark.parametrize(
    ("changes", "here", "says"),
    [
        ({"compute_capability": "9.0"}, {}, "on compute capability 9.0, driver 580.82.07; this machine has TensorRT 11.4"),
        ({"version": "12.0.0.1"}, {}, "built for TensorRT 12.0.0.1 .*this machine has TensorRT 11.4.0.106 on"),
        ({"version": "10.12.0.36"}, {}, "a plan of TensorRT 10.12.0.36 does not load in 11.4.0.106"),
        ({}, {"compute_capability": "9.0"}, "compute capability 9.0 is not 8.9"),
        ({}, {"versions": {}}, "tensorrt is not installed"),
        ({}, {"compute_capability": None, "why_no_gpu": "no nvidia-smi here"}, r"no NVIDIA GPU \(no nvidia-smi"),
        ({"hardware_compatible": HardwareCompatibility.AMPERE_PLUS}, {"compute_capability": "7.5"}, "not 8.0 or newer"),
        ({"version_compatible": True, "version": "11.5.0.1"}, {}, "does not load"),
        ({"version_compatible": True, "version": "9.3.0.1"}, {}, "does not load"),
        ({"backend": Backend.TENSORRT_RTX, "compute_capability": "8.6,12.0"}, {"versions": {Backend.TENSORRT_RTX: "11.4.0.106"}}, "8.6 or 12.0"),
    ],
)  # fmt: skip
def test_a_plan_of_another_machine(tiny_artifact, tmp_path, gpu, monkeypatch, changes, here, says):
    folder = with_plan(tiny_artifact, tmp_path / "a", **changes)
    machine = dataclasses.replace(HERE, **here)
    monkeypatch.setattr(deepvit.runtime.trt.session, "this_machine", lambda device: machine)
    with pytest.raises(MissingError, match=says) as caught:
        open_session(folder / "engine.plan", allow_host_code=True)
    assert "this machine has" in str(caught.value)
    assert str(caught.value).count("no NVIDIA GPU") <= 1
    assert "run `‹deepvit› build" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert gpu == []


@pytest.mark.parametrize(
    ("changes", "here"),
    [
        ({}, {"driver": "600.1"}),
        ({"driver": "590.1"}, {}),
        ({"driver": None, "gpu": None}, {}),
        ({"version_compatible": True, "version": "11.0.0.1"}, {}),
        ({"hardware_compatible": HardwareCompatibility.AMPERE_PLUS, "compute_capability": "8.0"}, {}),
        ({"compute_capability": "8.6,8.9"}, {}),
    ],
)
def test_a_plan_that_fits(changes, here):
    assert misfits(ENGINE.model_copy(update=changes), dataclasses.replace(HERE, **here)) == []


def test_another_gpu_of_the_same_capability_is_a_warning(tiny_artifact, tmp_path, gpu, caplog):
    folder = with_plan(tiny_artifact, tmp_path / "a", gpu="NVIDIA Other")
    open_session(folder / "engine.plan")
    assert "was tuned on NVIDIA Other, this is NVIDIA Test" in caplog.text


def test_an_older_driver_is_a_warning(tiny_artifact, tmp_path, gpu, caplog):
    open_session(with_plan(tiny_artifact, tmp_path / "a", driver="570.1") / "engine.plan")
    assert "driver" not in caplog.text
    open_session(with_plan(tiny_artifact, tmp_path / "b", driver="590.1") / "engine.plan")
    assert "engine.plan was built on driver 590.1, 580.82.07 is older" in caplog.text


def test_a_plan_runs_on_the_device_that_is_named(tiny_artifact, tmp_path, gpu, monkeypatch):
    asked = []
    for module in (deepvit.runtime.trt.session, deepvit.runtime.opening.session):
        monkeypatch.setattr(module, "this_machine", lambda device: asked.append(device) or HERE)
    folder = with_plan(tiny_artifact, tmp_path / "a")
    for path, times in ((folder, 2), (folder / "engine.plan", 1)):
        asked.clear()
        session = open_session(path, device=3)
        assert session.engine.cuda.device == 3
        assert asked == [3] * times
    lone = tmp_path / "lone.plan"
    lone.write_bytes(PLAN)
    assert open_session(lone, trust_unverified=True, device=2).engine.cuda.device == 2


def test_providers_are_not_for_plans(tiny_artifact, tmp_path, gpu):
    folder = with_plan(tiny_artifact, tmp_path / "a")
    with pytest.raises(InputError, match="‹provider› cuda is for ONNX models"):
        open_session(folder / "engine.plan", "cuda")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA L4, 8.9, 580.82.07, 23034 MiB'", ("NVIDIA L4", "8.9", "580.82.07", "")),
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", (None, None, None, "mismatch")),
        ("exit 9", (None, None, None, "nvidia-smi said: nothing")),
    ],
)
def test_this_machine(tmp_path, monkeypatch, script, expected):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine = this_machine()
    assert (machine.gpu, machine.compute_capability, machine.driver) == expected[:3]
    assert expected[3] in machine.why_no_gpu
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "hides them" in this_machine().why_no_gpu
