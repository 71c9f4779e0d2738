"""Engines on a GPU that exists in memory only: order, splitting, padding, graphs, threads, lifetime, failures."""

import concurrent.futures
import json
import logging

import numpy as np
import pytest

from deepvit.runtime.artifact.manifest import BatchRange
from deepvit.runtime.errors import DeviceError, InputError, OutOfBoundsError
from deepvit.runtime.trt.engine import EngineOnGpu
from deepvit.runtime.trt.lease import MOST_SHAPES
from deepvit.runtime.trt.session import TensorRtSession
from tests.doubles.fake_gpu import PLAN, FakeCuda, expected_logits, fake_library
from tests.places import ROOT

BATCH_ROWS = json.loads((ROOT / "runtime" / "cpp" / "tests" / "data" / "batch_rows_cases.json").read_text())["cases"]


def open_fake(cuda=None, plan=PLAN, leases=2, **engine_options):
    engine = EngineOnGpu(plan, fake_library(**engine_options), cuda or FakeCuda(), name="engine.plan", leases=leases)
    return engine, TensorRtSession(engine)


def images_of(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 3, 8, 9, 23])
def test_batches_of_any_size_give_their_own_answers(count):
    _, session = open_fake()
    images = images_of(count)
    for _ in range(3):  # plain, recorded, replayed
        assert np.allclose(session.run(images), expected_logits(PLAN, images), atol=1e-3)
    session.close()


def test_small_batches_are_padded_where_the_profile_needs_it():
    _, session = open_fake(profile=(4, 4, 8))
    images = images_of(9)
    assert np.allclose(session.run(images), expected_logits(PLAN, images), atol=1e-3)
    assert session.batch.min == 4


def test_graphs_are_recorded_on_the_second_run_and_kept_per_batch_size():
    cuda = FakeCuda()
    engine, session = open_fake(cuda, leases=1)
    for launches in (0, 1, 2):
        session.run(images_of(8))
        assert cuda.launched == launches
    session.run(images_of(3))
    session.run(images_of(8))
    assert (cuda.launched, len(cuda.graphs), engine.why_no_graphs) == (3, 1, None)


def test_only_so_many_batch_sizes_are_kept():
    cuda = FakeCuda()
    _, session = open_fake(cuda, leases=1, profile=(1, 4, 512))
    sizes = [1 << power for power in range(10)]
    for size in (*sizes, *sizes):
        for _ in range(2):
            session.run(images_of(size))
    assert len(cuda.graphs) == MOST_SHAPES < len(sizes)
    session.close()
    assert not cuda.graphs


def test_whatever_batch_sizes_come_few_graphs_are_recorded():
    cuda = FakeCuda()
    engine, session = open_fake(cuda, leases=1, profile=(1, 8, 64))
    for size in np.random.default_rng(0).integers(1, 65, 200):
        images = images_of(int(size))
        assert np.allclose(session.run(images), expected_logits(PLAN, images), atol=1e-3)
    assert len(cuda.graphs) <= 7
    assert engine._engine.contexts <= 7


@pytest.mark.parametrize("case", BATCH_ROWS, ids=lambda case: case["name"])
def test_a_batch_runs_as_the_least_size_of_the_table_that_holds_it(case):
    """The C++ runtime is held to the same table."""
    least, opt, most = case["batch"]
    assert BatchRange(min=least, opt=opt, max=most).steps == case["steps"]
    engine, _ = open_fake(profile=(least, opt, most))
    for count in range(least, most + 1):
        assert engine._rows_for(count) == min(step for step in case["steps"] if step >= count)


def test_without_graphs_it_says_so_and_goes_on(caplog):
    cuda = FakeCuda(fails_capture=True)
    engine, session = open_fake(cuda, leases=1)
    images = images_of(8)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            assert np.allclose(session.run(images), expected_logits(PLAN, images), atol=1e-3)
    assert [r.message for r in caplog.records if "without CUDA graphs" in r.message] != []
    assert len(caplog.records) == 1
    assert "cudaErrorStreamCaptureUnsupported" in engine.why_no_graphs
    assert "without CUDA graphs" in session.description


def test_many_threads_get_their_own_answers():
    cuda = FakeCuda()
    _, session = open_fake(cuda, leases=3)

    def one(seed):
        images = images_of(1 + seed % 11, seed)
        return np.abs(session.run(images) - expected_logits(PLAN, images)).max()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert max(pool.map(one, range(400))) < 1e-3
    assert len(cuda.streams) <= 3
    session.close()
    assert not (cuda.live or cuda.pinned or cuda.streams or cuda.graphs)


def test_a_shared_lease_gives_wrong_answers(monkeypatch):
    """Negative control: a second run that slips into the first one's lease is seen in its answer."""
    cuda = FakeCuda()
    engine, session = open_fake(cuda, leases=1)
    first, second = images_of(8, 1), images_of(8, 2)
    session.run(first)
    (lease,) = engine.leases.idle
    waiting = cuda.synchronize

    def interleaved(stream):
        monkeypatch.setattr(cuda, "synchronize", waiting)
        lease._batch = 0  # or it would say so
        lease.submit({"images": second}, 8, 8)
        waiting(stream)

    monkeypatch.setattr(cuda, "synchronize", interleaved)
    assert np.abs(session.run(first) - expected_logits(PLAN, first)).max() > 1e-3


def test_a_failed_run_frees_its_lease_and_the_next_one_works():
    cuda = FakeCuda()
    _, session = open_fake(cuda, leases=1)
    session.run(images_of(8))
    broken = cuda.synchronize

    def fail(stream):
        broken(stream)
        raise DeviceError("CUDA could not finish the work on a stream: an illegal memory access")

    cuda.synchronize = fail
    with pytest.raises(DeviceError, match="illegal memory access"):
        session.run(images_of(8))
    assert not (cuda.live or cuda.pinned or cuda.streams)
    cuda.synchronize = broken
    assert session.run(images_of(2)).shape == (2, 5)


def test_too_little_memory_is_an_error_that_leaves_nothing():
    cuda = FakeCuda(memory=10_000)
    _, session = open_fake(cuda)
    with pytest.raises(DeviceError, match="out of memory"):
        session.run(images_of(1))
    assert not (cuda.live or cuda.pinned or cuda.streams)


def test_a_closed_session_does_not_run():
    _, session = open_fake()
    session.run(images_of(1))
    session.close()
    session.close()
    with pytest.raises(DeviceError, match="closed"):
        session.run(images_of(1))


def test_nan_is_an_error_and_never_a_class():
    _, session = open_fake()
    images = images_of(2)
    images[1, 0, 0, 0] = np.nan
    with pytest.raises(OutOfBoundsError, match="1 of 2 images are not finite"):
        session.run(images)


def test_a_plan_that_tensorrt_refuses():
    with pytest.raises(DeviceError, match=r"could not load engine.plan \(9 bytes\): the plan is not one of this"):
        open_fake(plan=b"something")


def test_wrong_images_are_refused():
    _, session = open_fake()
    for wrong in (images_of(0), images_of(2)[:, :2], images_of(2).astype(np.float64)):
        with pytest.raises(InputError):
            session.run(wrong)


def test_engines_of_another_kind_are_refused(monkeypatch):
    from tests.doubles.fake_gpu import DataType, Engine

    monkeypatch.setattr(Engine, "get_tensor_dtype", lambda self, name: DataType.INT32)
    with pytest.raises(InputError, match="expected float or uint8"):
        open_fake()
    monkeypatch.setattr(Engine, "get_tensor_dtype", lambda self, name: DataType.HALF)
    with pytest.raises(InputError, match="expected one input of 4-D float32"):
        open_fake()


def test_weights_are_fitted_into_a_stripped_engine():
    engine = EngineOnGpu(PLAN, fake_library(), FakeCuda(), name="engine.plan", refit_from=b"onnx")
    assert engine._engine.refitted
    with pytest.raises(DeviceError, match="read the weights"):
        EngineOnGpu(PLAN, fake_library(), FakeCuda(), name="engine.plan", refit_from=b"")


def test_the_inspector_is_told_a_batch_without_which_it_tells_no_types():
    engine, session = open_fake()
    (layer,) = json.loads(session.inspect())["Layers"]
    assert layer["Inputs"][0]["Format/Datatype"] == "Row major linear FP16 format"
    assert layer["Inputs"][0]["Dimensions"][0] == session.batch.opt
    assert "N/A" in engine._engine.create_engine_inspector().get_engine_information(None)  # nobody told it
    session.close()
