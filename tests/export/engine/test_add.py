"""An engine for an artifact: what is asked first, what is proved, what is written, and that a failure leaves all as it was."""

import concurrent.futures
import dataclasses
import errno
import json
import os
import pathlib
import re
import shutil
import threading
import time
import types

import numpy as np
import pytest
from PIL import Image

import deepvit.export.engine.add
import deepvit.export.engine.building.process
import deepvit.runtime.opening
import deepvit.runtime.trt.driver
from deepvit.export.engine.add import add_engine
from deepvit.export.engine.building import network
from deepvit.export.engine.building.phases import BuildProgress
from deepvit.export.engine.building.worker import Job, job_from_json
from deepvit.export.engine.choice import choose_engines
from deepvit.export.engine.layers import layers_from_listing
from deepvit.export.engine.options import EngineOptions, compute_capabilities_from_text
from deepvit.export.engine.plan import plan_engine
from deepvit.export.engine.timing_cache import locked, read_timings, timing_cache_path, write_timings
from deepvit.export.options import ExportOptions, GraphOptions, Target
from deepvit.export.pipeline import export_artifact
from deepvit.runtime.artifact import Artifact, open_artifact
from deepvit.runtime.artifact.manifest import (
    ANY_BATCH,
    Backend,
    BatchRange,
    BuildLimits,
    EnginePlugin,
    HardwareCompatibility,
    Precision,
)
from deepvit.runtime.errors import InputError, MissingError, OutOfBoundsError
from deepvit.runtime.opening import open_session
from deepvit.runtime.ort.arithmetic import Arithmetic
from deepvit.runtime.preprocess import DecodePolicy
from deepvit.runtime.trt.log import Errors
from deepvit.runtime.trt.machine import Machine
from tests.doubles.changed_artifact import shift_mean
from tests.doubles.fake_gpu import HERE
from tests.rig.inspector import inspector_json

RTX = EngineOptions(backend=Backend.TENSORRT_RTX, compute_capabilities=("8.9", "12.0"))
BOTH = {Backend.TENSORRT: "11.4.0.106", Backend.TENSORRT_RTX: "1.7.1.116"}
NO_GPU = Machine(why_no_gpu="no nvidia-smi here", versions=BOTH)


def quiet(_phase, _share):
    pass


@pytest.fixture
def artifact(tiny_artifact, tmp_path):
    """A copy of the tiny artifact, free to be changed."""
    return shutil.copytree(tiny_artifact, tmp_path / "artifact")


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def on_gpu(monkeypatch, on_rig, tmp_path):
    """A GPU that exists by name: what the rig builds counts as run, with the graph's own answers unless changed."""
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(deepvit.export.engine.add, "this_machine", lambda: dataclasses.replace(HERE, versions=BOTH))
    monkeypatch.setattr(deepvit.runtime.trt.driver, "cuda_of_driver", lambda: (13, 0))
    changes = {"inspector": None, "error": 0.0, "jobs": []}

    def build(onnx, job, images, bar, on_parsed):
        changes["jobs"].append(job)
        built = deepvit.export.engine.building.process.build_engine(
            onnx, dataclasses.replace(job, is_run=False), None, bar, on_parsed
        )
        path = tmp_path / "same.onnx"
        path.write_bytes(onnx)
        logits = open_session(path, arithmetic=Arithmetic.AS_DECLARED).run(images) * np.float32(1 + changes["error"])
        inspector = changes["inspector"] or inspector_json(layers_from_listing(built.listing))
        return dataclasses.replace(built, inspector=inspector, logits=logits)

    monkeypatch.setattr(deepvit.export.engine.add, "build_engine", build)
    return changes


def test_a_tensorrt_rtx_engine_without_a_gpu(artifact, monkeypatch):
    before = files_of(artifact)
    manifest = add_engine(artifact, RTX, quiet).manifest
    (engine,) = manifest.engines
    assert (engine.file, engine.backend, engine.version) == ("engine.rtx.plan", Backend.TENSORRT_RTX, "1.7.1.116")
    assert (engine.compute_capability, engine.gpu, engine.driver) == ("8.9,12.0", None, None)
    assert engine.census.network["MATRIX_MULTIPLY HALF"] == manifest.graph.gemms == 14
    assert engine.census.engine["correlation HALF"] == manifest.graph.convolutions
    assert engine.census.gemms_attributed == manifest.graph.gemms + manifest.graph.convolutions
    assert files_of(artifact)["model.onnx"] == before["model.onnx"]
    assert open_artifact(artifact).read("engine.rtx.plan")
    again = add_engine(artifact, dataclasses.replace(RTX, batch=BatchRange(min=2, opt=2, max=3)), quiet).manifest
    assert [e.profile.max for e in again.engines] == [3]


def test_an_engine_says_with_which_plugin_it_was_built():
    plugin = EnginePlugin(sha256="0" * 64, kernels_sha256="1" * 64, layer="deepvit::ReAttention/1")
    build = deepvit.export.engine.building.process.Build(
        plan=b"", version="11.4.0.106", network=[], inspector=None, logits=None, plugin=plugin
    )
    assert deepvit.export.engine.add._record(build, None, EngineOptions(), ANY_BATCH, HERE).plugin == plugin


@pytest.fixture
def meanwhile(monkeypatch):
    """A function: what happens between the build of an engine and its commit."""

    def set_up(happens):
        def build(*arguments):
            built = deepvit.export.engine.building.process.build_engine(*arguments)
            monkeypatch.setattr(
                deepvit.export.engine.add, "build_engine", deepvit.export.engine.building.process.build_engine
            )
            happens()
            return built

        monkeypatch.setattr(deepvit.export.engine.add, "build_engine", build)

    return set_up


def test_an_artifact_that_was_replaced_meanwhile_is_kept(artifact, on_rig, meanwhile, tiny_loaded, tmp_path):
    newer = tmp_path / "newer"
    export_artifact(tiny_loaded, ExportOptions(graph=GraphOptions(precision=Precision.FP32), output=newer))
    expected = files_of(newer)

    def replace():
        shutil.rmtree(artifact)
        newer.rename(artifact)

    meanwhile(replace)
    with pytest.raises(InputError, match=r"artifact was replaced while its engine was built; build again"):
        add_engine(artifact, RTX, quiet)
    assert files_of(artifact) == expected
    assert os.listdir(tmp_path) == ["artifact"]


def test_an_artifact_that_is_replaced_at_the_last_moment_is_kept(artifact, on_rig, monkeypatch):
    """After it was looked at the first time, before the commit: its files are the same, its manifest is not."""
    link = deepvit.export.engine.add._link
    text = (artifact / "manifest.json").read_text().replace('"tiny_cnn"', '"other_cnn"')

    def replace(source, target):
        link(source, target)
        (artifact / "manifest.json").write_text(text)

    monkeypatch.setattr(deepvit.export.engine.add, "_link", replace)
    with pytest.raises(InputError, match="artifact was replaced while its engine was built"):
        add_engine(artifact, RTX, quiet)
    assert (artifact / "manifest.json").read_text() == text


def test_a_cache_that_others_can_write_to_costs_only_the_timings(artifact, on_gpu, tmp_path, caplog):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    assert add_engine(artifact, EngineOptions(), quiet).manifest.engines
    assert caplog.text.count("the build's timings are not kept: cache folder") == 1
    assert [job.timing_cache for job in on_gpu["jobs"]] == [None]
    assert os.listdir(tmp_path / "cache") == []


@pytest.mark.parametrize("error", [InputError("cannot be written"), MissingError("no room on the disk")])
def test_a_plan_outlives_timings_that_cannot_be_kept(monkeypatch, tmp_path, caplog, error):
    builder = object.__new__(network.EngineBuilder)
    builder._library = builder._network = None
    builder._log = types.SimpleNamespace(errors=Errors())
    builder._builder = types.SimpleNamespace(
        create_builder_config=types.SimpleNamespace, build_serialized_network=lambda *_: b"plan"
    )
    for name in ("_configure", "_load_timings", "_monitor"):
        monkeypatch.setattr(network, name, lambda *_: None)
    monkeypatch.setattr(network.EngineBuilder, "_add_profile", lambda *_: None)

    def fails(*_):
        raise error

    monkeypatch.setattr(network, "_save_timings", fails)
    assert builder.build(EngineOptions(), ANY_BATCH, tmp_path / "a.cache", quiet) == b"plan"
    assert f"the build's timings are not kept: {error}" in caplog.text


def test_images_that_prove_an_engine_are_decoded_as_asked(artifact, on_gpu, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (1200, 1000)).save(images / "a.png")
    with pytest.raises(InputError, match="at most 1 million are decoded"):
        add_engine(artifact, EngineOptions(), quiet, str(images), DecodePolicy(max_megapixels=1))
    assert add_engine(artifact, EngineOptions(), quiet, str(images), DecodePolicy(max_megapixels=2)).manifest.engines


def test_an_engine_that_cannot_be_put_down_names_no_option_that_build_lacks(artifact, on_rig, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(deepvit.export.engine.add, "_link", full)
    with pytest.raises(MissingError) as caught:
        add_engine(artifact, RTX, quiet)
    assert "‹output›" not in str(caught.value)


def test_a_file_that_was_changed_meanwhile_is_not_committed(artifact, on_rig, meanwhile, tmp_path):
    meanwhile(lambda: (artifact / "model.onnx").write_bytes(b"another graph"))
    with pytest.raises(InputError, match="model.onnx is not what its manifest says"):
        add_engine(artifact, RTX, quiet)
    assert sorted(files_of(artifact)) == ["manifest.json", "model.onnx"]
    assert os.listdir(tmp_path) == ["artifact"]


def test_two_builds_at_once_lose_no_engine(artifact, on_rig, meanwhile, tmp_path):
    refused = []

    def another():
        with pytest.raises(InputError) as error:
            add_engine(artifact, RTX, quiet)
        refused.append(str(error.value))

    meanwhile(another)
    add_engine(artifact, RTX, quiet)
    (line,) = refused
    assert "another process is building an engine for it" in line
    assert open_artifact(artifact).read("engine.rtx.plan")
    assert os.listdir(tmp_path) == ["artifact"]


def test_an_artifact_behind_a_link_gets_its_engine(artifact, on_rig, tmp_path):
    current = tmp_path / "current"
    current.symlink_to("artifact")
    add_engine(current, RTX, quiet)
    assert current.is_symlink()
    assert open_artifact(artifact).read("engine.rtx.plan")
    assert sorted(os.listdir(tmp_path)) == ["artifact", "current"]


def test_an_engine_of_one_channel_is_proved(grey_artifact, tmp_path, on_gpu):
    artifact = shutil.copytree(grey_artifact, tmp_path / "grey")
    assert add_engine(artifact, EngineOptions(), quiet).manifest.parity[-1].stage == "engine-tensorrt"


def test_a_tensorrt_engine_is_proved_and_recorded(artifact, on_gpu):
    options = EngineOptions(workspace_bytes=1 << 30, optimization_level=3)
    manifest = add_engine(artifact, options, quiet).manifest
    (engine,) = manifest.engines
    assert (engine.gpu, engine.driver, engine.compute_capability) == (HERE.gpu, HERE.driver, "8.9")
    assert engine.options == BuildLimits(workspace_bytes=1 << 30, optimization_level=3)
    assert engine.options.model_dump() == {"workspace_bytes": 1 << 30, "optimization_level": 3}
    stage = manifest.parity[-1]
    assert (stage.stage, stage.against, stage.sqnr_db) == ("engine-tensorrt", "onnx-fp16", None)
    both = add_engine(artifact, RTX, quiet).manifest
    assert [e.file for e in both.engines] == ["engine.plan", "engine.rtx.plan"]
    again = add_engine(artifact, options, quiet).manifest
    assert [stage.stage for stage in again.parity].count("engine-tensorrt") == 1
    (cache,) = {job.timing_cache for job in on_gpu["jobs"] if job.options.backend is Backend.TENSORRT}
    assert cache.name == "11.4.0.106_NVIDIA-Test_8.9_580.82.07.cache"
    assert read_timings(cache)


def test_an_engine_with_other_answers_is_refused(artifact, on_gpu):
    before = files_of(artifact)
    on_gpu["error"] = 0.1
    with pytest.raises(OutOfBoundsError, match=r"parity of engine-tensorrt against onnx-fp16 .* SQNR 20\.0 dB"):
        add_engine(artifact, EngineOptions(), quiet)
    assert files_of(artifact) == before


def test_an_engine_that_came_out_in_fp32_is_refused(artifact, on_gpu):
    before = files_of(artifact)
    floats = [{"Name": "x", "Format/Datatype": "Float"}]
    layer = {"Name": "blocks.0.attn.qkv/MatMul", "LayerType": "gemm", "Inputs": floats, "Outputs": floats}
    on_gpu["inspector"] = json.dumps({"Layers": [layer]})
    with pytest.raises(OutOfBoundsError, match="blocks.0.attn.qkv/MatMul reads FLOAT, expected HALF"):
        add_engine(artifact, EngineOptions(), quiet)
    assert files_of(artifact) == before


def test_a_changed_graph_is_not_built(artifact, monkeypatch):
    content = bytearray((artifact / "model.onnx").read_bytes())
    content[100] ^= 1
    (artifact / "model.onnx").write_bytes(content)
    monkeypatch.setattr(deepvit.export.engine.add, "build_engine", None)
    with pytest.raises(InputError, match="model.onnx has SHA-256"):
        add_engine(artifact, RTX, quiet)


def test_nothing_is_built_for_a_manifest_that_is_not_the_graphs(artifact, monkeypatch):
    shift_mean(artifact)
    monkeypatch.setattr(deepvit.export.engine.add, "build_engine", None)
    with pytest.raises(InputError, match=r"preprocess.mean is \[0.9, 0.9, 0.9\] by the manifest"):
        add_engine(artifact, RTX, quiet)


@pytest.mark.parametrize("batch", [BatchRange(min=1, opt=8, max=65), BatchRange(min=100, opt=100, max=100)])
def test_batches_beyond_what_was_proved_are_refused(artifact, batch):
    with pytest.raises(InputError, match="the graph was proved up to 64"):
        add_engine(artifact, dataclasses.replace(RTX, batch=batch), quiet)


def test_a_stripped_rtx_plan_needs_a_gpu(artifact):
    with pytest.raises(MissingError, match="‹weight_stripped› with ‹target› tensorrt-rtx needs a GPU"):
        add_engine(artifact, dataclasses.replace(RTX, weight_stripped=True), quiet)


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP8], ids=str)
def test_quantised_weights_stay_in_the_plan(artifact, precision, monkeypatch):
    """TensorRT builds such a plan, and only then cannot fit the weights in."""
    manifest = open_artifact(artifact).manifest.model_copy(update={"precision": precision})
    monkeypatch.setattr(deepvit.export.engine.add, "build_engine", None)
    machine = dataclasses.replace(HERE, versions=BOTH)
    with pytest.raises(InputError, match=f"the weights of {precision.value} cannot be fitted in again"):
        plan_engine(Artifact(artifact, manifest), EngineOptions(weight_stripped=True), machine)


@pytest.mark.parametrize(
    ("lacking", "says"),
    [
        ({"has_cuda_python": lambda: False}, "needs cuda-python; pip install tensorrt cuda-python"),
        ({"cuda_of_driver": lambda: None}, "libcuda.so.1 of NVIDIA's driver cannot be loaded here"),
        (
            {"cuda_of_driver": lambda: (12, 9), "cuda_of_library": lambda _: 13},
            "tensorrt here is for CUDA 13, the driver takes CUDA 12.9 at most; update the driver to 580 or newer, or pip",
        ),
    ],
    ids=["cuda-python", "driver", "old driver"],
)
def test_what_could_not_run_the_engine_is_said_before_it_is_built(artifact, on_gpu, monkeypatch, lacking, says):
    for name, stand_in in lacking.items():
        monkeypatch.setattr(deepvit.runtime.trt.driver, name, stand_in)
    with pytest.raises(MissingError, match=re.escape(says)):
        add_engine(artifact, EngineOptions(), quiet)
    assert on_gpu["jobs"] == []
    assert plan_engine(open_artifact(artifact), RTX, NO_GPU).parity is None  # which is not run where it is built


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workspace_bytes": 1}, "‹workspace› 0: expected"),
        ({"weight_stripped": True, "version_compatible": True}, "such a plan takes no weights; give one"),
        ({"optimization_level": 6}, "‹optimization_level› 6: expected 0 to 5"),
        ({"compute_capabilities": ("8.9",)}, "‹compute_capability› is for ‹target› tensorrt-rtx"),
        (
            {"backend": Backend.TENSORRT_RTX, "version_compatible": True},
            "‹version_compatible› is for ‹target› tensorrt",
        ),
        (
            {"backend": Backend.TENSORRT_RTX, "hardware_compatible": HardwareCompatibility.AMPERE_PLUS},
            "‹hardware_compatible›",
        ),
    ],
)
def test_options_that_cannot_be(options, says):
    with pytest.raises(InputError, match=says):
        EngineOptions(**options)


@pytest.mark.parametrize("text", ["", "89", "8.9,", "8.9;9.0", "8.9,8.9", "x", "-8.9", "123.4"])
def test_compute_capabilities_that_are_none(text):
    with pytest.raises(InputError, match="expected one or more, as in 8.9,12.0"):
        compute_capabilities_from_text(text)


def test_which_engines_are_built():
    def chosen(target, machine, *capabilities):
        choice = choose_engines(target, capabilities, machine)
        return [options.backend.value for options in choice.build], choice.skipped

    gpu = dataclasses.replace(HERE, versions=BOTH)
    assert chosen(Target.AUTO, gpu) == (["tensorrt", "tensorrt-rtx"], ())
    built, skipped = chosen(Target.AUTO, dataclasses.replace(gpu, compute_capability="9.0"))
    assert built == ["tensorrt"]
    assert "tensorrt-rtx does not build for compute capability 9.0" in skipped
    assert chosen(Target.AUTO, NO_GPU, "8.9")[0] == ["tensorrt-rtx"]
    assert choose_engines(Target.AUTO, ("8.9",), NO_GPU).describe(pathlib.Path("a b")).startswith("no other engine")
    assert choose_engines(Target.AUTO, (), NO_GPU).describe(pathlib.Path("a b")).endswith("‹deepvit› build 'a b'")
    assert choose_engines(Target.AUTO, (), gpu).describe(pathlib.Path("a b")) == ""
    assert chosen(Target.AUTO, NO_GPU)[0] == []
    assert chosen(Target.ONNX, gpu) == chosen(Target.CPU, gpu) == ([], ())
    assert chosen(Target.TENSORRT_RTX, gpu) == (["tensorrt-rtx"], ())
    with pytest.raises(MissingError, match="cannot be built here: tensorrt builds on the GPU.*no nvidia-smi here"):
        chosen(Target.TENSORRT, NO_GPU)
    with pytest.raises(MissingError, match="tensorrt is not installed; pip install tensorrt"):
        chosen(Target.TENSORRT, Machine(why_no_gpu="none"))
    with pytest.raises(MissingError, match="‹compute_capability› 8.9,12.0 to tell it"):
        chosen(Target.TENSORRT_RTX, NO_GPU)
    with pytest.raises(InputError, match="is for ‹target› tensorrt-rtx"):
        chosen(Target.TENSORRT, gpu, "8.9")
    with pytest.raises(InputError, match="of which ‹target› onnx builds none"):
        chosen(Target.ONNX, gpu, "8.9")


def test_a_job_survives_its_file():
    job = Job(options=RTX, batch=ANY_BATCH, timing_cache=None, is_run=True)
    assert job_from_json(job.to_json()) == job


def test_timings_are_found_by_version_gpu_and_driver(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "cache"))
    names = {
        timing_cache_path(version, dataclasses.replace(HERE, gpu=gpu, driver=driver)).name
        for version in ("11.4.0.106", "10.12.0.36")
        for gpu in ("NVIDIA L4", "NVIDIA A10")
        for driver in ("580.1", "590.1")
    }
    assert len(names) == 8
    (tmp_path / "cache" / "timing").chmod(0o777)
    with pytest.raises(InputError, match="can be written by others"):
        timing_cache_path("11.4.0.106", HERE)


def test_the_lock_of_the_timings_makes_others_wait(tmp_path):
    path, order = tmp_path / "a.cache", []

    def other():
        with locked(path):
            order.append("other")

    with locked(path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(5)
    assert order == ["first", "other"]


def test_timings_cannot_be_written_to_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be"):
        write_timings(tmp_path / "file" / "a.cache", b"x")


def test_progress_of_nested_phases():
    progress, shares = BuildProgress(), []
    progress.start("all", None, 2)
    progress.start("first", "all", 4)
    for step in range(4):
        progress.step("first", step)
        shares.append(progress.share)
    progress.finish("first")
    progress.step("all", 0)
    shares.append(progress.share)
    progress.start("second", "all", 1)
    progress.start("inner", "second", 2)
    progress.step("inner", 0)
    shares.append(progress.share)
    progress.finish("second")  # given up with its inner phase still open
    progress.finish("inner")
    progress.finish("unknown")
    progress.finish("all")
    assert shares == [0.125, 0.25, 0.375, 0.5, 0.5, 0.75]
    assert progress.share == 1.0


def test_phases_that_nobody_announced_do_not_end_the_build():
    """TensorRT takes an exception for the wish to give up."""
    told = []
    progress = BuildProgress(lambda phase, share: told.append((phase, share)))
    progress.step("unknown", 0)
    progress.start("inner", "unknown", 2)
    progress.step("inner", 0)
    progress.finish("unknown")
    progress.start("itself", "itself", 1)
    progress.start("one", "other", 1)
    progress.start("other", "one", 1)
    for name in ("itself", "one", "other"):
        progress.step(name, 0)
        progress.finish(name)
    assert progress.share == 0.0  # none of them is the whole
    assert told


def test_progress_is_told_by_one_thread_at_a_time_and_never_goes_back():
    inside, shares = [], []

    def report(_phase, share):
        assert not inside
        inside.append(1)
        shares.append(share)
        time.sleep(0)  # let other threads in
        inside.pop()

    progress = BuildProgress(report)
    progress.start("all", None, 4)

    def work(name):
        for _ in range(20):
            progress.start(name, "all", 8)
            for step in range(8):
                progress.step(name, step)
            progress.finish(name)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, "abcd"))
    assert len(shares) == 1 + 4 * 20 * 10
    assert shares == sorted(shares)


def test_the_gpu_of_the_tests_is_not_taken_for_this_machine(artifact, monkeypatch):
    """Negative control of the fixture: without it, TensorRT's engine is refused where no GPU is."""
    monkeypatch.setattr(deepvit.export.engine.add, "this_machine", lambda: NO_GPU)
    with pytest.raises(MissingError, match="cannot be built here"):
        add_engine(artifact, EngineOptions(), quiet)
    assert deepvit.runtime.opening.engine_here(open_artifact(artifact), allow_host_code=False) is None
