"""TensorRT's logger: one for the life of the process; whose error is whose."""

import gc
import subprocess
import sys
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from deepvit.runtime.errors import DeviceError
from deepvit.runtime.trt.engine import EngineOnGpu
from deepvit.runtime.trt.library import checked, logger_of
from deepvit.runtime.trt.log import refusal
from deepvit.runtime.trt.session import TensorRtSession
from tests.doubles import fake_gpu
from tests.doubles.fake_gpu import PLAN, FakeCuda, ILogger, fake_library
from tests.places import ROOT


def open_fake(plan=PLAN):
    return TensorRtSession(EngineOnGpu(plan, fake_library(), FakeCuda(), name="engine.plan"))


@pytest.fixture
def log(monkeypatch):
    """The log of a TensorRT that nothing here was given a logger of yet."""
    fresh = type("ILogger", (ILogger,), {"first": None})
    monkeypatch.setattr(fake_gpu, "ILogger", fresh)
    return logger_of(fake_library())


def test_a_second_engine_runs_after_the_first_was_closed(log):
    first = open_fake()
    kept = weakref.ref(first.engine._log)
    second = open_fake()
    first.close()
    del first
    gc.collect()
    assert fake_gpu.ILogger.first() is kept() is log
    assert second.run(np.zeros((2, 3, 32, 32), np.float32)).shape == (2, 5)
    open_fake()  # writes to the first logger


def test_a_logger_for_each_engine_is_seen(log, monkeypatch):
    """Negative control."""
    import deepvit.runtime.trt.engine
    from deepvit.runtime.trt.log import _new_logger

    monkeypatch.setattr(deepvit.runtime.trt.engine, "logger_of", lambda library: _new_logger(library.trt, "tensorrt"))
    first = open_fake()
    first.close()
    del first
    fake_gpu.Runtime.latest = None
    gc.collect()
    with pytest.raises(AssertionError, match="a logger that was freed"):
        open_fake()


def test_threads_that_ask_at_once_get_the_same(monkeypatch):
    fresh = type("ILogger", (ILogger,), {"first": None})
    monkeypatch.setattr(fake_gpu, "ILogger", fresh)
    library, found, start = fake_library(), [], threading.Barrier(8)

    def ask():
        start.wait()
        found.append(logger_of(library))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(log) for log in found}) == 1


def test_an_error_is_told_to_the_thread_and_the_call_that_it_is_of(log):
    log.log(ILogger.ERROR, "of an earlier call, which was done all the same")
    assert checked(1, "do something", log) == 1
    theirs = threading.Thread(target=lambda: log.log(ILogger.ERROR, "of another thread"))
    theirs.start()
    theirs.join()
    with pytest.raises(DeviceError, match="does not say why; what it said last, of whatever call: of another thread"):
        checked(None, "do it", log)
    log.log(ILogger.ERROR, "of this call")
    with pytest.raises(DeviceError, match="could not do it: of this call$"):
        checked(None, "do it", log)
    with pytest.raises(DeviceError, match="does not say why"):
        checked(None, "do it again", log)


def test_what_a_layer_of_ours_says_is_the_reason(log):
    log.errors.add("an earlier one")
    for line in ("deepvit::ReAttention: no kernel for 2 heads", "Plugin node a reported a non-zero return code: 1"):
        log.errors.add(line)
    assert refusal("build", log) == "TensorRT could not build: deepvit::ReAttention: no kernel for 2 heads"
    log.errors.add("of a later call")
    assert refusal("build", log) == "TensorRT could not build: of a later call"


def test_what_is_kept_does_not_grow(log):
    for number in range(1000):
        log.log(ILogger.ERROR, f"error {number}")
    kept = vars(log.errors) | vars(log.errors._here)
    assert sorted(str(value) for value in kept.values() if isinstance(value, str)) == ["error 999", "error 999"]
    assert not any(isinstance(value, list | dict | tuple) for value in kept.values())


SCRIPT = """
import gc, sys
from deepvit.runtime.artifact.manifest import Backend
from deepvit.runtime.trt.library import load_library, logger_of
library = load_library(Backend.TENSORRT_RTX)
log = logger_of(library)
references = sys.getrefcount(log)
first = library.trt.Builder(log); del first; gc.collect()
assert logger_of(library) is log and sys.getrefcount(log) >= references
import deepvit.runtime.trt.log as module
module._loggers.clear(); address = id(log); del log; gc.collect()
import ctypes
kept = ctypes.cast(address, ctypes.py_object).value
assert isinstance(kept, library.trt.ILogger) and kept.errors.take() is None
second = library.trt.Builder(kept)
print("kept")
"""


def test_the_real_bindings_logger_outlives_everything_that_had_it():
    """Also the module that keeps it, whose names are cleared when the process ends."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "kept\n"), done.stderr


def test_each_library_has_its_own():
    class Other:
        INTERNAL_ERROR, ERROR, WARNING = range(3)

    other = SimpleNamespace(ILogger=Other)
    from deepvit.runtime.trt.log import logger_of_process

    assert logger_of_process(other, "other") is logger_of_process(other, "other")
    assert logger_of_process(other, "other") is not logger_of(fake_library())
