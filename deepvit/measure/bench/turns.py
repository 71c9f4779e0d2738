"""Models side by side: each in its own process, taking turns, so that what changes on the machine meets all of them."""

import contextlib
import dataclasses
import logging
import statistics
import time
from collections.abc import Iterator, Sequence

import numpy as np

from deepvit.metrics.distance import sqnr_of
from deepvit.progress import Advance
from deepvit.runtime.errors import InputError, MissingError
from deepvit.runtime.session.tensors import RunTimes

from .conditions import Clocks, conditions_here, device_bytes, seen_clocks
from .options import BenchmarkOptions
from .result import Benchmark, DeviceTime, NotCompared, Ratio, Skipped, Timed, Timing
from .worker import BenchmarkWorker, Opener, TurnReply

logger = logging.getLogger(__name__)
PARTS = ("staging", "copy_in", "compute", "copy_out")
STABLE = 0.05  # two halves of the warm-up whose medians differ by less are stable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A model to be timed: its name, how a process opens it, and the size of its file or weights."""

    name: str
    opener: Opener
    bytes: int | None = None
    random_weights: bool = False
    weights_sha256: str | None = None  # its answers can be held against those of a baseline of the same weights


@dataclasses.dataclass
class _Measured:
    """What was seen of one model at one batch size: a list of runs' seconds for every round."""

    turns: list[list[float]] = dataclasses.field(default_factory=list)
    times: list[RunTimes] = dataclasses.field(default_factory=list)
    cpu_s: float = 0.0
    overlapped: list[tuple[int, float]] = dataclasses.field(default_factory=list)  # of each turn: runs and seconds
    warm_up_runs: int = 0
    is_stable: bool = False
    host_bytes: int | None = None
    device_bytes: int | None = None

    def add(self, reply: TurnReply) -> None:
        self.turns.append(reply.seconds)
        self.times += reply.times
        self.cpu_s += reply.cpu_s
        self.overlapped += [] if reply.overlapped is None else [reply.overlapped]
        self.host_bytes = reply.peak_host_bytes

    @property
    def overlapped_runs_per_second(self) -> float | None:
        if not self.overlapped:
            return None
        runs, seconds = map(sum, zip(*self.overlapped, strict=True))
        return runs / seconds

    @property
    def device(self) -> DeviceTime | None:
        if not self.times:
            return None
        parts = {f"{name}_ms": [getattr(each, f"{name}_ms") for each in self.times] for name in PARTS}
        total = [each.device_ms for each in self.times]
        return DeviceTime(**{name: statistics.median(each) for name, each in (parts | {"total_ms": total}).items()})

    def throughputs(self, batch: int) -> list[float]:
        return [batch * len(turn) / sum(turn) for turn in self.turns]


def run_benchmark(
    subjects: Sequence[Subject],
    options: BenchmarkOptions,
    command: str,
    progress: Advance,
    baseline: str | None = None,
) -> Benchmark:
    """Time models side by side.

    Args:
        subjects: What is timed, with different names.
        options: How.
        command: What the result says it comes from.
        progress: Called after every turn.
        baseline: Whose throughput the others are divided by; the first that opens where None.

    Raises:
        InputError: Two of the same name, or a baseline that is not there.
        MissingError: None can be opened.
    """
    names = [subject.name for subject in subjects]
    if len(set(names)) != len(names):
        raise InputError(f"bench was given the same model twice: {', '.join(names)}")
    if baseline is not None and baseline not in names:
        raise InputError(f"‹baseline› {baseline} is not among what is timed: {', '.join(names)}")
    with contextlib.ExitStack() as stack:
        skipped: list[Skipped] = []
        workers = _open_workers(subjects, stack, skipped)
        if not workers:
            raise MissingError(f"no model can be timed here: {skipped[0].model}: {skipped[0].why}")
        if baseline is not None and baseline not in workers:
            raise MissingError(f"‹baseline› {baseline} cannot be timed here: {skipped[0].why}")
        base = next(subject for subject in subjects if subject.name == (baseline or next(iter(workers))))
        measured, clocks = _measure(workers, base.name, options, progress, skipped)
        return Benchmark(
            command=command,
            baseline=base.name,
            host=conditions_here(),
            clocks=clocks,
            rounds=options.rounds,
            models=[
                _timed(subject, workers, base, options, measured)
                for subject in subjects
                if (subject.name, options.batches[0]) in measured
            ],
            skipped=skipped,
        )


def _open_workers(
    subjects: Sequence[Subject], stack: contextlib.ExitStack, skipped: list[Skipped]
) -> dict[str, BenchmarkWorker]:
    """Start a process for each model that can be opened here; `stack` ends them, `skipped` names the others."""
    workers = {}
    for subject in subjects:
        try:
            worker = BenchmarkWorker(subject.name, subject.opener)
        except (InputError, MissingError) as error:
            skipped.append(Skipped(model=subject.name, why=str(error)))
            logger.warning("not timed: %s: %s", subject.name, error)
            continue
        stack.callback(worker.close)
        workers[subject.name] = worker
    return workers


def _measure(
    workers: dict[str, BenchmarkWorker],
    base: str,
    options: BenchmarkOptions,
    progress: Advance,
    skipped: list[Skipped],
) -> tuple[dict[tuple[str, int], _Measured], Clocks]:
    """Warm up and time every model at every batch size, round by round, each round beginning with another model.

    A model that fails at a batch size, for want of memory say, has no timings from there on.
    """
    measured: dict[tuple[str, int], _Measured] = {}
    clocks = Clocks()
    done, total = 0, len(options.batches) * options.rounds * len(workers)
    active = dict(workers)
    for batch in options.batches:
        for name, worker in workers.items():
            if name not in active:
                continue
            try:
                measured[name, batch] = _warm_up(worker, batch, options)
            except (InputError, MissingError) as error:
                if name == base:
                    raise
                del active[name]
                skipped.append(Skipped(model=name, why=f"from batch {batch} on: {error}"))
        for index in range(options.rounds):
            for name, worker in _rotated(list(active.items()), index):
                reply = worker.turn(batch, options.turn_s, options.turn_runs)
                measurement = measured[name, batch]
                measurement.add(reply)
                done += 1
                progress(done, total)
            clocks = seen_clocks(clocks)
        for name, worker in active.items():
            measured[name, batch].device_bytes = device_bytes(worker.pid)
    return measured, clocks


def _rotated(items: list[tuple[str, BenchmarkWorker]], places: int) -> Iterator[tuple[str, BenchmarkWorker]]:
    shift = places % len(items)
    yield from items[shift:] + items[:shift]


def _warm_up(worker: BenchmarkWorker, batch: int, options: BenchmarkOptions) -> _Measured:
    """Run until the medians of two halves agree, or the time for it is over."""
    measurement, end = _Measured(), time.perf_counter() + options.warm_up_s
    before = None
    while not measurement.is_stable and time.perf_counter() < end:
        seconds = worker.turn(batch, options.turn_s, options.turn_runs).seconds
        measurement.warm_up_runs += len(seconds) + 1
        now = statistics.median(seconds)
        measurement.is_stable = before is not None and abs(now - before) <= STABLE * before
        before = now
    return measurement


def _timed(
    subject: Subject,
    workers: dict[str, BenchmarkWorker],
    base: Subject,
    options: BenchmarkOptions,
    measured: dict[tuple[str, int], _Measured],
) -> Timed:
    worker = workers[subject.name]
    reply, expected = worker.opening, workers[base.name].opening
    has_ratio = not (reply.is_emulated or expected.is_emulated)
    not_compared: NotCompared | None = None
    if subject is base:
        not_compared = "the baseline"
    elif subject.weights_sha256 is None or subject.weights_sha256 != base.weights_sha256:
        not_compared = "other weights"
    elif reply.dtype != expected.dtype or reply.logits.shape != expected.logits.shape:
        not_compared = "another input"
    return Timed(
        model=subject.name,
        runs_on=reply.runs_on,
        emulated=reply.is_emulated,
        random_weights=subject.random_weights,
        bytes=subject.bytes,
        open_s=reply.open_s,
        first_answer_s=worker.first_answer_s,
        sqnr_db=sqnr_of(reply.logits, expected.logits) if not_compared is None else None,
        not_compared=not_compared,
        timings=[
            _timing(batch, measured[subject.name, batch], measured[base.name, batch] if has_ratio else None)
            for batch in options.batches
            if (subject.name, batch) in measured
        ],
        input_dtype=reply.dtype,
    )


def _timing(batch: int, measurement: _Measured, base: _Measured | None) -> Timing:
    runs = 1e3 * np.array([seconds for turn in measurement.turns for seconds in turn])
    overlapped = measurement.overlapped_runs_per_second
    p50, p90, p99 = (float(value) for value in np.percentile(runs, (50, 90, 99)))
    return Timing(
        batch=batch,
        runs=len(runs),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        cpu_ms=1e3 * measurement.cpu_s / len(runs),
        images_per_second=1e3 * batch * len(runs) / float(runs.sum()),
        ratio=None if base is None else _ratio(measurement.throughputs(batch), base.throughputs(batch)),
        warm_up_runs=measurement.warm_up_runs,
        is_stable=measurement.is_stable,
        peak_host_bytes=measurement.host_bytes,
        peak_device_bytes=measurement.device_bytes,
        overlapped_images_per_second=None if overlapped is None else batch * overlapped,
        device=measurement.device,
    )


def _ratio(own: Sequence[float], base: Sequence[float]) -> Ratio:
    """Return the quotients of two models' throughputs, round by round, as their median and quartiles."""
    low, median, high = np.percentile([one / other for one, other in zip(own, base, strict=True)], (25, 50, 75))
    return Ratio(median=float(median), low=float(low), high=float(high))
