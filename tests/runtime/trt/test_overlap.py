"""Runs that overlap on a GPU that exists in memory only, whose copies and kernels take time by a clock of its own."""

import concurrent.futures
from types import SimpleNamespace

import numpy as np
import pytest

import deepvit.runtime.trt.session
from deepvit.runtime.errors import DeviceError, InputError, OutOfBoundsError
from deepvit.runtime.session import Overlapping, begin, run_each, runs_at_once
from deepvit.runtime.trt.engine import EngineOnGpu
from deepvit.runtime.trt.session import TensorRtSession
from tests.doubles.benchmark_stub import StubOpener
from tests.doubles.fake_gpu import PLAN, Clock, FakeCuda, expected_logits, fail_at, fake_library

COPY_IN, COMPUTE, COPY_OUT = 2.0, 3.0, 0.2
BATCHES = 20


def open_fake(cuda=None, leases=2, **engine_options):
    cuda = cuda or FakeCuda(clock=Clock(COPY_IN, COMPUTE, COPY_OUT))
    engine = EngineOnGpu(PLAN, fake_library(**engine_options), cuda, name="engine.plan", leases=leases)
    return cuda, TensorRtSession(engine)


def images_of(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, 32, 32)).astype(np.float32)


def nothing_is_left(cuda):
    return not (cuda.live or cuda.pinned or cuda.streams or cuda.graphs or cuda.events)


def seconds_a_batch(session, cuda, run_all):
    session.run(images_of(8))  # whatever is made once
    start = cuda.clock.now
    run_all(images_of(8, seed) for seed in range(BATCHES))
    return (cuda.clock.now - start) / BATCHES


def test_copying_hides_behind_computing():
    cuda, session = open_fake()
    found = seconds_a_batch(session, cuda, lambda batches: list(run_each(session, batches)))
    assert COMPUTE <= found <= 1.1 * COMPUTE


def test_one_after_the_other_is_seen():
    """Negative control."""
    cuda, session = open_fake()
    found = seconds_a_batch(session, cuda, lambda batches: [session.run(images) for images in batches])
    assert found == pytest.approx(COPY_IN + COMPUTE + COPY_OUT)
    cuda, session = open_fake(leases=1)
    found = seconds_a_batch(session, cuda, lambda batches: list(run_each(session, batches)))
    assert found == pytest.approx(COPY_IN + COMPUTE + COPY_OUT)


def test_a_batch_that_is_split_overlaps_with_itself():
    cuda, session = open_fake()
    session.run(images_of(8))
    start = cuda.clock.now
    session.run(images_of(8 * BATCHES))
    assert (cuda.clock.now - start) / BATCHES <= 1.1 * COMPUTE


def test_answers_are_the_same_to_the_bit_and_in_order():
    _, session = open_fake(profile=(2, 8, 64))
    sizes = np.random.default_rng(1).integers(1, 100, 60)
    batches = [images_of(int(size), seed) for seed, size in enumerate(sizes)]
    serial = [session.run(images) for images in batches]
    for found, expected, images in zip(run_each(session, iter(batches)), serial, batches, strict=True):
        assert np.array_equal(found, expected)
        assert np.allclose(found, expected_logits(PLAN, images), atol=1e-3)


def test_images_can_be_changed_once_a_run_was_begun():
    _, session = open_fake()
    images = images_of(8)
    expected = expected_logits(PLAN, images)
    run = session.submit(images)
    images[:] = 0
    assert np.allclose(run.result(), expected, atol=1e-3)
    assert np.array_equal(run.result(), run.result())


def test_the_parts_of_a_run_are_told_by_events():
    _, session = open_fake()
    run = session.submit(images_of(8))
    assert run.times is None
    run.result()
    assert (run.times.copy_in_ms, run.times.compute_ms, run.times.copy_out_ms) == pytest.approx((2000, 3000, 200))
    assert run.times.device_ms == pytest.approx(5200)
    split = session.submit(images_of(24))
    split.result()
    assert split.times.compute_ms == pytest.approx(9000, rel=0.5)
    assert split.times.copy_out_ms == pytest.approx(600)


def test_the_time_of_a_run_is_its_own_or_since_the_one_before(monkeypatch):
    """What `eval` calls the model alone: time that runs share counts once, waiting for images not at all."""
    cuda, session = open_fake()
    monkeypatch.setattr(deepvit.runtime.trt.session, "time", SimpleNamespace(perf_counter=lambda: cuda.clock.now))
    session.run(images_of(8))
    start, runs = cuda.clock.now, []
    for seed in range(BATCHES):
        runs.append(session.submit(images_of(8, seed)))
        if seed:
            runs[-2].result()
    runs[-1].result()
    assert sum(run.seconds for run in runs) == pytest.approx(cuda.clock.now - start, rel=0.01)
    run = session.submit(images_of(8))
    cuda.clock.now += 100
    run.result()
    assert run.seconds == pytest.approx(COPY_IN + COMPUTE + COPY_OUT, rel=0.01)


@pytest.mark.parametrize("call", ["copy_to_device", "launch", "copy_to_host", "synchronize", "elapsed_ms"])
def test_what_fails_reaches_whoever_waits_for_it_and_nobody_else(monkeypatch, call):
    cuda, session = open_fake()
    batches = [images_of(8, seed) for seed in range(6)]
    for images in batches:  # graphs are recorded
        session.run(images)
    working, calls = getattr(cuda, call), []

    def fail(*arguments):
        calls.append(1)
        given = working(*arguments)
        if len(calls) == 3:
            raise DeviceError("CUDA could not do it")
        return given

    monkeypatch.setattr(cuda, call, fail)
    runs = [session.submit(images) for images in batches]
    failed = []
    for place, run in enumerate(runs):
        try:
            assert np.allclose(run.result(), expected_logits(PLAN, batches[place]), atol=1e-3)
        except DeviceError:
            failed.append(place)
            with pytest.raises(DeviceError):
                run.result()
    assert len(failed) == 1
    session.close()
    assert nothing_is_left(cuda)


def test_what_comes_before_a_failure_is_yielded(monkeypatch):
    cuda, session = open_fake()
    fail_at(4, cuda, monkeypatch)
    found = []
    with pytest.raises(DeviceError):
        for logits in run_each(session, [images_of(8)] * 9):
            found.append(logits)
    assert len(found) == 3
    session.close()
    assert nothing_is_left(cuda)


def test_closing_with_work_under_way_leaves_nothing_and_keeps_what_was_computed():
    cuda, session = open_fake()
    batches = [images_of(8, seed) for seed in range(5)]
    runs = [session.submit(images) for images in batches]
    session.close()
    assert nothing_is_left(cuda)
    for run, images in zip(runs, batches, strict=True):
        assert np.allclose(run.result(), expected_logits(PLAN, images), atol=1e-3)
    with pytest.raises(DeviceError, match="closed"):
        session.submit(batches[0])


def test_a_generator_that_is_left_keeps_no_lease():
    cuda, session = open_fake()
    each = run_each(session, [images_of(8)] * 9)
    next(each)
    each.close()
    for _ in range(5):
        session.submit(images_of(8))  # nobody asks for it
    assert np.allclose(session.run(images_of(3)), expected_logits(PLAN, images_of(3)), atol=1e-3)
    assert len(cuda.streams) == 2
    session.close()
    assert nothing_is_left(cuda)


def test_a_lease_that_was_kept_for_a_forgotten_run_is_missed(monkeypatch):
    """Negative control: where nobody lands what nobody asks for, a third run would wait for ever."""
    _, session = open_fake()
    pool = session.engine.leases
    for _ in range(2):
        session.submit(images_of(8))
    waits = []
    monkeypatch.setattr(pool._changed, "wait_for", lambda is_true: waits.append(bool(is_true())))
    pool._flights.clear()
    with pytest.raises(IndexError):
        session.submit(images_of(8))
    assert waits == [False]


def test_an_interruption_while_waiting_ends_the_run(monkeypatch):
    cuda, session = open_fake()
    run, other = session.submit(images_of(8)), session.submit(images_of(4))
    working = cuda.synchronize

    def interrupted(stream):
        monkeypatch.setattr(cuda, "synchronize", working)
        raise KeyboardInterrupt

    monkeypatch.setattr(cuda, "synchronize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.result()
    with pytest.raises(DeviceError, match="interrupted"):
        run.result()
    assert other.result().shape == (4, 5)
    session.close()
    assert nothing_is_left(cuda)


def test_threads_that_overlap_get_their_own_answers():
    cuda, session = open_fake(leases=3)

    def one(seed):
        batches = [images_of(1 + (seed + i) % 11, seed * 10 + i) for i in range(4)]
        found = run_each(session, batches) if seed % 3 else [session.submit(images).result() for images in batches]
        errors = [np.abs(a - expected_logits(PLAN, b)).max() for a, b in zip(found, batches, strict=True)]
        session.submit(batches[0])  # and forgets it
        return max(errors)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert max(pool.map(one, range(60))) < 1e-3
    assert len(cuda.streams) <= 3
    session.close()
    assert nothing_is_left(cuda)


def test_wrong_images_and_logits():
    _, session = open_fake()
    with pytest.raises(InputError):
        session.submit(images_of(2)[:, :2])
    images = images_of(2)
    images[1, 0, 0, 0] = np.nan
    run = session.submit(images)
    with pytest.raises(OutOfBoundsError, match="1 of 2 images are not finite"):
        run.result()


def test_a_session_of_another_kind_runs_when_it_is_begun():
    session = StubOpener(seconds=0.0001)()
    assert not isinstance(session, Overlapping)
    assert runs_at_once(session) == 1
    batches = [np.full((2, 3, 4, 4), value, np.float32) for value in range(4)]
    assert [logits[0, 0] for logits in run_each(session, batches)] == [0, 1, 2, 3]
    run = begin(session, batches[1])
    batches[1][:] = 9
    assert run.result()[0, 0] == 1
    assert run.seconds > 0
    assert run.times is None
    failed = begin(StubOpener(refused_at=2)(), batches[2])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"):
            failed.result()
