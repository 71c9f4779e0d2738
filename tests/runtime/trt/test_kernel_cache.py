"""TensorRT-RTX engines: kernels are compiled before a graph records them, and kept for the next process."""

import hashlib
import logging
import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

import deepvit.runtime.trt.cuda
import deepvit.runtime.trt.session
from deepvit.runtime.artifact.manifest import Backend
from deepvit.runtime.files import cache_folder
from deepvit.runtime.opening import open_session
from deepvit.runtime.trt import kernel_cache
from deepvit.runtime.trt.engine import EngineOnGpu
from deepvit.runtime.trt.kernel_cache import kernel_cache_path, read_kernels, write_kernels
from tests.doubles.fake_gpu import (
    PLAN,
    Context,
    DynamicShapesKernelSpecializationStrategy,
    FakeCuda,
    RuntimeCache,
    RuntimeConfig,
    expected_logits,
    fake_library,
)
from tests.places import ROOT

SHA256 = "5" * 64
KERNELS = RuntimeCache.HEAD + bytes([1, 8])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Context, "compiled", 0)


def images_of(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, 32, 32)).astype(np.float32)


def open_rtx(path, *, leases=1, **engine_options):
    library = fake_library(Backend.TENSORRT_RTX, **engine_options)
    return EngineOnGpu(PLAN, library, FakeCuda(), name="engine.rtx.plan", leases=leases, kernel_cache=path)


def run(engine, count, seed=0):
    images = images_of(count, seed)
    assert np.allclose(engine.run({"images": images})["logits"], expected_logits(PLAN, images), atol=1e-3)


def path_of(plan_sha256=SHA256, version="1.7.1.116", **of_gpu):
    cuda = FakeCuda()
    for name, value in of_gpu.items():
        setattr(cuda, name, value)
    return kernel_cache_path(plan_sha256, version, cuda)


def test_a_graph_records_the_kernels_that_were_compiled_for_its_batch_size():
    engine = open_rtx(None)
    for _ in range(3):
        run(engine, 8)
    assert (engine.cuda.launched, len(engine.cuda.graphs), engine.why_no_graphs) == (2, 1, None)
    (lease,) = engine.leases.idle
    assert lease.context(8).specialization is DynamicShapesKernelSpecializationStrategy.EAGER
    engine.close()
    assert not (engine.cuda.live or engine.cuda.pinned or engine.cuda.streams or engine.cuda.graphs)


def test_left_alone_a_graph_records_generic_kernels(monkeypatch):
    """Negative control: the library's own choice, LAZY, is seen."""
    monkeypatch.setattr(
        RuntimeConfig, "__setattr__",
        lambda self, name, value: None if name.startswith("dynamic") and value.name == "EAGER"
        else object.__setattr__(self, name, value),
    )  # fmt: skip
    engine = open_rtx(None)
    run(engine, 8)
    with pytest.raises(AssertionError, match="a graph recorded the generic kernels"):
        run(engine, 8)


def test_tensorrt_itself_is_not_configured_so():
    engine = EngineOnGpu(PLAN, fake_library(), FakeCuda(), name="engine.plan")
    run(engine, 8)
    (lease,) = engine.leases.idle
    assert lease.context(8).specialization is None


@pytest.mark.parametrize(("most", "expected"), [(8, [1, 2, 4, 8]), (7, [1, 2, 4, 7])])
def test_few_batch_sizes_are_compiled(most, expected):
    path = path_of()
    engine = open_rtx(path, profile=(1, 4, most))
    for _ in range(3):
        for count in range(1, most + 1):
            run(engine, count, seed=count)
    engine.close()
    assert read_kernels(path) == RuntimeCache.HEAD + bytes(expected)


def test_what_one_engine_compiled_the_next_one_has():
    path = path_of()
    for expected in (2, 2):
        engine = open_rtx(path)
        for count in (8, 4, 8):
            run(engine, count)
        engine.close()
        assert Context.compiled == expected
    assert read_kernels(path) == RuntimeCache.HEAD + bytes([4, 8])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_kernels_are_on_disk_before_the_engine_is_closed():
    path = path_of()
    engine = open_rtx(path)
    run(engine, 8)
    assert read_kernels(path) == RuntimeCache.HEAD + bytes([8])
    written = path.stat().st_mtime_ns
    run(engine, 8)
    assert path.stat().st_mtime_ns == written  # nothing new
    run(engine, 2)
    assert read_kernels(path) == RuntimeCache.HEAD + bytes([2, 8])
    engine.close()


def test_kernels_are_read_when_nothing_runs(monkeypatch):
    path, entered, released = path_of(), threading.Event(), threading.Event()
    engine = open_rtx(path, leases=2)
    compute = Context._compute

    def slowly(self):
        if self.shape[0] == 4:
            self.cache.running += 1
            entered.set()
            assert released.wait(20)
            self.cache.running -= 1
        compute(self)

    monkeypatch.setattr(Context, "_compute", slowly)
    thread = threading.Thread(target=run, args=(engine, 3))
    thread.start()
    assert entered.wait(20)
    run(engine, 8)  # would read them, were it not for the other run
    assert not path.exists()
    released.set()
    thread.join()
    assert read_kernels(path) == RuntimeCache.HEAD + bytes([4, 8])
    engine.close()


def test_the_file_is_the_one_that_the_cpp_runtime_reads():
    """Held against it by cpp/tests/test_tensorrt.cpp."""
    path = path_of()
    write_kernels(path, KERNELS)
    digest = hashlib.sha256(path.name.encode() + b"\n" + KERNELS).digest()
    assert path.read_bytes() == b"deepvit kernels 1\n" + digest + KERNELS


def test_another_plan_library_gpu_or_driver_has_another_file():
    paths = {
        path_of(), path_of("6" * 64), path_of(version="1.8.0.1"), path_of(gpu="NVIDIA Other"),
        path_of(compute_capability="12.0"), path_of(driver="13.1"),
    }  # fmt: skip
    assert len(paths) == 6
    assert path_of().name == f"{SHA256}_1.7.1.116_NVIDIA-Test_8.9_cuda-13.0.cache"


def test_nothing_in_a_name_leads_elsewhere():
    path = path_of(gpu="../../NVIDIA / RTX™ \x1b[1m")
    assert path.parent == cache_folder("kernels")
    assert path.name == f"{SHA256}_1.7.1.116_..-..-NVIDIA-RTX-1m_8.9_cuda-13.0.cache"


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def _from_another(path):
    other = path_of("6" * 64)
    write_kernels(other, KERNELS)
    other.replace(path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_flip, "damaged, or of another file"),
        (_cut, "damaged, or of another file"),
        (_from_another, "damaged, or of another file"),
        (lambda path: path.write_bytes(b""), "damaged, or of another file"),
        (lambda path: path.write_bytes(os.urandom(5000)), "damaged, or of another file"),
        (lambda path: write_kernels(path, b"kernels of another library"), "the cache is of another GPU"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_written_anew(caplog, spoil, says):
    path = path_of()
    write_kernels(path, KERNELS)
    spoil(path)
    engine = open_rtx(path)
    run(engine, 8)
    engine.close()
    assert [record.message for record in caplog.records if says in record.message] == [
        record.message for record in caplog.records if record.levelno >= logging.WARNING
    ]
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    assert read_kernels(path) == RuntimeCache.HEAD + bytes([8])


def test_sound_kernels_are_used_without_a_word(caplog):
    """Negative control: nothing is said of a file that is as it was written, and nothing is compiled."""
    path = path_of()
    write_kernels(path, KERNELS)
    engine = open_rtx(path)
    run(engine, 8)
    assert (caplog.text, Context.compiled) == ("", 0)


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_folder_that_others_can_write_to_is_left_unused(caplog, mode):
    folder = cache_folder("kernels")
    write_kernels(folder / path_of().name, KERNELS)
    folder.chmod(mode)
    assert path_of() is None
    assert "compiled kernels are not kept" in caplog.text
    assert "can be written by others" in caplog.text
    run(open_rtx(None), 8)
    assert Context.compiled == 1


def test_no_folder_is_no_failure(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEEPVIT_CACHE", str(tmp_path / "file"))
    assert path_of() is None
    assert "cannot be made: Not a directory" in caplog.text


@pytest.mark.parametrize("fault", ["full", "folder", "refused", "large"])
def test_what_cannot_be_written_is_one_line_and_not_tried_again(monkeypatch, caplog, fault):
    path = path_of()
    if fault == "full":
        monkeypatch.setattr(kernel_cache, "replaced", lambda path: (_ for _ in ()).throw(OSError(28, "No space left")))
    elif fault == "folder":
        monkeypatch.setattr(kernel_cache, "read_kernels", lambda path: None)
        path.mkdir()
    elif fault == "refused":
        monkeypatch.setattr(RuntimeCache, "refuses", True)
    else:
        monkeypatch.setattr(kernel_cache, "MAX_BYTES", 10)
    engine = open_rtx(path)
    for count in (8, 3, 2):
        run(engine, count)
    engine.close()
    assert caplog.text.count("compiled kernels cannot be kept") == 1
    assert not path.is_file()


def test_only_so_many_files_are_kept(monkeypatch):
    monkeypatch.setattr(kernel_cache, "MOST_FILES", 3)
    for number in range(6):
        path = path_of(f"{number}" * 64)
        write_kernels(path, KERNELS)
        os.utime(path, ns=(number, number))
    left = sorted(path.name[0] for path in cache_folder("kernels").iterdir())
    assert left == ["3", "4", "5"]


WRITER = """
import pathlib, sys
from deepvit.runtime.trt.kernel_cache import read_kernels, write_kernels
path, letter = pathlib.Path(sys.argv[1]), sys.argv[2].encode()
for _ in range(60):
    write_kernels(path, letter * 100_000)
    assert read_kernels(path) is not None
"""


def test_two_processes_write_whole_files(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    commands = [[sys.executable, "-c", WRITER, path_of(), letter] for letter in "ab"]
    processes = [subprocess.Popen(c, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) for c in commands]
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors.decode()
    assert read_kernels(path_of()) in [letter * 100_000 for letter in (b"a", b"b")]
    assert [path.suffix for path in cache_folder("kernels").iterdir()] == [".cache"]


@pytest.fixture
def rtx_plan(tmp_path, monkeypatch):
    monkeypatch.setattr(deepvit.runtime.trt.session, "load_library", fake_library)
    monkeypatch.setattr(deepvit.runtime.trt.cuda, "Cuda", FakeCuda)
    path = tmp_path / "engine.rtx.plan"
    path.write_bytes(PLAN)
    return path


def test_a_session_keeps_the_kernels_of_its_plan(rtx_plan):
    for _ in range(2):
        session = open_session(rtx_plan, trust_unverified=True)
        session.run(images_of(8))
        session.close()
    assert Context.compiled == 1
    rtx_plan.write_bytes(PLAN + b"another")
    session = open_session(rtx_plan, trust_unverified=True)
    session.run(images_of(8))
    assert Context.compiled == 2
    assert len(list(cache_folder("kernels").iterdir())) == 2


def test_tensorrt_keeps_none(rtx_plan):
    open_session(rtx_plan.rename(rtx_plan.with_name("engine.plan")), trust_unverified=True).run(images_of(8))
    assert not list(cache_folder("kernels").iterdir())
