"""Sections of a check of a GPU, on fakes: each sees the fault that it is there for."""

import ctypes
import math

import numpy as np
import pytest

from benchmarks.gpu_check.fakes import FakeGpu
from benchmarks.gpu_check.findings import Findings, SkippedError
from benchmarks.gpu_check.record import Check
from benchmarks.gpu_check.sections import engines, environment, forms, numerics, runtime, sessions, transfers
from benchmarks.gpu_check.stand_in import Counted, expected, images_of, opened
from deepvit.export.options import GraphOptions, Target
from deepvit.metrics.bounds import FP32_BOUND
from deepvit.runtime.artifact import open_artifact
from deepvit.runtime.errors import DeviceError, OutOfBoundsError
from deepvit.runtime.trt.lease import Lease
from deepvit.runtime.trt.machine import Machine
from tests.doubles.fake_gpu import HERE, FakeCuda


def found_by(part, place):
    """The findings of a section, or of a part of one."""
    said = []
    part(Findings(said.append, is_fake=True), place)
    return said


def failed(said):
    return [each.name for each in said if isinstance(each, Check) and not each.passed]


def test_the_run_time_holds_on_fakes():
    said = found_by(runtime.run, FakeGpu())
    assert failed(said) == []
    assert len(said) > 20


class WrongAnswers(FakeGpu):
    """Computes one logit of one image in a batch wrongly, by the least that there is."""

    def compute(self, batch, addresses, sizes):
        super().compute(batch, addresses, sizes)
        logits = np.ctypeslib.as_array((ctypes.c_float * (batch * sizes[1])).from_address(addresses[1]))
        logits[-1] += 1


class NotANumber(FakeGpu):
    def compute(self, batch, addresses, sizes):
        (ctypes.c_float * (batch * sizes[1])).from_address(addresses[1])[0] = float("nan")


@pytest.mark.parametrize("place", [WrongAnswers(), NotANumber()], ids=["wrong", "NaN"])
def test_wrong_logits_are_caught(place):
    for part in (runtime._answers, runtime._threads):
        assert failed(found_by(part, place)) != []


def test_the_worst_of_errors_is_none_where_one_is():
    assert math.isnan(runtime._worst([0.0, math.nan, 1.0]))


def test_a_graph_that_is_not_replayed_is_caught(monkeypatch):
    monkeypatch.setattr(Lease, "_capture", lambda self, shape: None)
    assert failed(found_by(runtime._graphs, FakeGpu())) == ["of 10 runs, those that put work on the stream by hand"]


def test_an_answer_of_another_batch_size_is_caught(monkeypatch):
    """A context that is taken for another batch size than it was made for."""
    whole = Lease._shape
    monkeypatch.setattr(Lease, "_shape", lambda self, batch: whole(self, min(batch, 3)))
    assert failed(found_by(runtime._answers, FakeGpu())) != []


def test_memory_that_is_not_pinned_is_caught():
    place = FakeGpu()
    place.is_pinned = lambda address: False
    assert failed(found_by(runtime._pinned, place)) == ["host memory of ours is page-locked"]


@pytest.mark.parametrize(
    ("call", "lost"),
    [("free", "allocate"), ("free_pinned", "allocate_pinned"), ("destroy_graph", "end_capture"),
     ("destroy_stream", "create_stream"), ("destroy_event", "create_event")],
)  # fmt: skip
def test_a_leak_is_caught(monkeypatch, call, lost):
    """A lease that forgets one kind of what it was lent."""
    close, drop = Lease.close, Lease._drop

    def forgetful(method):
        def run(self, *arguments):
            true, self._cuda = self._cuda, _Forgetful(self._cuda, call)
            try:
                return method(self, *arguments)
            finally:
                self._cuda = true

        return run

    monkeypatch.setattr(Lease, "close", forgetful(close))
    monkeypatch.setattr(Lease, "_drop", forgetful(drop))
    said = found_by(runtime._open_and_close, FakeGpu())
    assert f"what {runtime.WARM_UP + runtime.CYCLES} engines did not give back" in failed(said)
    assert any(lost in str(each.measured) for each in said if isinstance(each, Check))


class _Forgetful:
    """A device that one call does not reach."""

    def __init__(self, cuda, call):
        self._cuda, self._call = cuda, call

    def __getattr__(self, name):
        return (lambda *arguments: None) if name == self._call else getattr(self._cuda, name)


def test_memory_of_the_gpu_that_goes_is_caught_whoever_took_it():
    class Shrinking(FakeGpu):
        free = 1 << 40

        def free_bytes(self):
            self.free -= 1 << 30
            return self.free

    names = failed(found_by(runtime._open_and_close, Shrinking()))
    assert names == [f"memory of the GPU that {runtime.CYCLES} engines took with them"]


class StuckCuda(FakeCuda):
    """A stream that nothing runs on any more once a capture of it has failed."""

    def __init__(self):
        super().__init__()
        self.stuck = set()

    def abandon_capture(self, stream):
        super().abandon_capture(stream)
        self.stuck.add(stream)

    def end_capture(self, stream):
        try:
            return super().end_capture(stream)
        except DeviceError:
            self.stuck.add(stream)
            raise

    def synchronize(self, stream):
        super().synchronize(stream)
        if stream in self.stuck:
            raise DeviceError("CUDA could not finish the work on a stream (cudaErrorStreamCaptureInvalidated)")


class Stuck(FakeGpu):
    def cuda(self):
        return StuckCuda()


@pytest.mark.parametrize("fault", list(runtime.Fault), ids=lambda fault: fault.value)
def test_a_lease_that_no_longer_runs_after_a_failed_capture_is_caught(fault):
    said = found_by(lambda findings, place: runtime._failing_capture(findings, place, fault), Stuck())
    assert [name.rpartition(": ")[2] for name in failed(said)] == ["the lease still runs"]


def test_a_capture_that_nothing_spoils_shows_nothing_and_is_caught():
    place = FakeGpu()
    place.spoil_capture = lambda stream: None
    said = found_by(lambda findings, place: runtime._failing_capture(findings, place, runtime.Fault.SILENT), place)
    assert "it is said" in [name.rpartition(": ")[2] for name in failed(said)]


def test_a_copy_that_changes_bytes_is_caught():
    class Noisy(FakeCuda):
        def copy_to_host(self, host, device, count, stream):
            super().copy_to_host(host, device, count - 1, stream)  # the last byte is left behind

    place = FakeGpu()
    place.cuda = Noisy
    assert failed(found_by(runtime._pinned, place)) == ["bytes that came back otherwise from the GPU"]
    assert failed(found_by(transfers._copies, place)) == []  # the memory had that byte already


def test_another_gpu_than_nvidia_smi_s_is_caught(monkeypatch):
    class Other(FakeGpu):
        def machine(self):
            return Machine(gpu="NVIDIA H200", compute_capability="9.0")

    monkeypatch.setattr(environment, "examine", list)
    assert failed(found_by(environment.run, Other())) == [
        "compute capability, CUDA's beside nvidia-smi's",
        "the GPU's name, CUDA's beside nvidia-smi's",
    ]


def test_logits_outside_their_bound_are_caught():
    right = np.ones((2, 5))
    for wrong in (right + 1e-3, right * np.nan, right * np.inf):
        said = []
        Findings(said.append, is_fake=True).logits("logits", wrong, right, FP32_BOUND, "FP32_BOUND")
        assert failed(said) == ["logits"]


def test_arithmetic_that_is_coarser_than_it_says_is_caught(monkeypatch):
    """BF16 in the place of FP16, and FP16 in that of float32."""
    coarser = {"float32": "float16", "float16": "bfloat16"}
    whole = numerics.logits_of

    def logits(module, images, device, arithmetic):
        dtype = coarser.get(arithmetic.dtype, arithmetic.dtype)
        return whole(module, images, device, numerics.dataclasses.replace(arithmetic, dtype=dtype))

    monkeypatch.setattr(numerics, "logits_of", logits)
    monkeypatch.setattr(numerics, "IMAGES", 2)
    names = failed(found_by(numerics.run, FakeGpu()))
    assert [name.rpartition(": ")[2] for name in names] == ["float32", "FP16"]


def test_numerics_are_those_of_the_graph_that_export_writes():
    assert GraphOptions(target=Target.TENSORRT).spec == numerics.SPEC


def test_padding_that_changes_the_answer_is_caught(monkeypatch):
    """Keys of padding that a query sees."""
    monkeypatch.setattr("deepvit.export.graph.padding.MASKED", 0.0)
    names = failed(found_by(forms._whole_models, FakeGpu()))
    assert [name.rpartition(": ")[2] for name in names] == ["tokens padded, against tokens as they are, in float64"]


def test_settings_of_pytorch_are_set_again():
    import torch

    before = numerics._exchanged((True, False, True))
    with pytest.raises(ZeroDivisionError), numerics.switched(tf32=False):
        assert not torch.backends.cuda.matmul.allow_tf32
        raise ZeroDivisionError
    assert numerics._exchanged(before) == (True, False, True)


def test_onnxruntime_without_the_provider_is_skipped_with_what_it_has():
    class NoCuda(FakeGpu):
        provider = "cuda"

    with pytest.raises(SkippedError, match="its providers here are .*cpu"):
        sessions._onnxruntime(Findings(print, is_fake=True), NoCuda(), None, None)


def test_an_engine_that_is_refused_or_answers_wrongly_is_caught(monkeypatch, tiny_artifact):
    monkeypatch.setattr("deepvit.export.pipeline.export_artifact", lambda *arguments: open_artifact(tiny_artifact))

    class Refused(FakeGpu):
        def build(self, folder, backend, batch=None):
            raise OutOfBoundsError("24 breaches of 24")

    class Wrong(FakeGpu):
        def open_engine(self, folder, backend):
            session = super().open_engine(folder, backend)
            run, turns = session.run, iter(range(100))
            session.run = lambda images: run(images) * (1 if next(turns) < 2 else 2)  # wrong from the third on
            return session

    said = found_by(engines.run, Refused())
    assert [name.rpartition(": ")[2] for name in failed(said)] == ["built, past the gate, proved"]
    assert any("24 breaches" in str(each.measured) for each in said if isinstance(each, Check))
    assert [name.rpartition(": ")[2] for name in failed(found_by(engines.run, Wrong()))] == [
        "replayed, against the CPU"
    ]


@pytest.mark.parametrize(
    ("versions", "capability", "why"),
    [({}, "9.0", "no TensorRT is installed"), ({engines.Backend.TENSORRT_RTX: "1.7"}, "9.0", "builds for this GPU")],
)
def test_without_a_tensorrt_for_the_gpu_engines_are_skipped(versions, capability, why):
    place = FakeGpu()
    place.machine = lambda: Machine(gpu="x", compute_capability=capability, versions=versions)
    with pytest.raises(SkippedError, match=why):
        found_by(engines.run, place)
    assert HERE.versions  # the fake machine itself has one


def test_the_stand_in_answers_exactly_and_counts_what_is_lent():
    place = FakeGpu()
    counted = Counted(place.cuda())
    images = images_of(7, 1)
    with opened(place, cuda=counted) as engine:
        assert np.array_equal(engine.run({"images": images})["logits"], expected(images))
        assert counted.lent["create_stream"] == 1
    assert not +counted.lent
