"""Models side by side: each in its own process, taking turns, so that what changes on the machine meets all of them."""

import contextlib
import logging
import statistics
import time
from collections.abc import Iterator, Sequence

from deepvit.progress import Advance
from deepvit.runtime.errors import InputError, MissingError

from .conditions import Clocks, conditions_here, device_bytes, seen_clocks
from .options import BenchmarkOptions
from .result import Benchmark, Skipped
from .timings import Measured, Subject, timed
from .worker import BenchmarkWorker

logger = logging.getLogger(__name__)
STABLE = 0.05  # two halves of the warm-up whose medians differ by less are stable


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
                timed(subject, workers, base, options, measured)
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
) -> tuple[dict[tuple[str, int], Measured], Clocks]:
    """Warm up and time every model at every batch size, round by round, each round beginning with another model.

    A model that fails at a batch size, for want of memory say, has no timings from there on.
    """
    measured: dict[tuple[str, int], Measured] = {}
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


def _warm_up(worker: BenchmarkWorker, batch: int, options: BenchmarkOptions) -> Measured:
    """Run until the medians of two halves agree, or the time for it is over."""
    measurement, end = Measured(), time.perf_counter() + options.warm_up_s
    before = None
    while not measurement.is_stable and time.perf_counter() < end:
        seconds = worker.turn(batch, options.turn_s, options.turn_runs).seconds
        measurement.warm_up_runs += len(seconds) + 1
        now = statistics.median(seconds)
        measurement.is_stable = before is not None and abs(now - before) <= STABLE * before
        before = now
    return measurement
