"""A model that is timed, what was measured of it, and the record that is made of that."""

import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np

from deepvit.metrics.distance import sqnr_of
from deepvit.runtime.session.tensors import RunTimes

from .options import BenchmarkOptions
from .result import DeviceTime, NotCompared, Ratio, Timed, Timing
from .worker import BenchmarkWorker, Opener, TurnReply

PARTS = ("staging", "copy_in", "compute", "copy_out")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """A model to be timed: its name, how a process opens it, and the size of its file or weights."""

    name: str
    opener: Opener
    bytes: int | None = None
    random_weights: bool = False
    weights_sha256: str | None = None  # its answers can be held against those of a baseline of the same weights


@dataclasses.dataclass
class Measured:
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


def timed(
    subject: Subject,
    workers: dict[str, BenchmarkWorker],
    base: Subject,
    options: BenchmarkOptions,
    measured: dict[tuple[str, int], Measured],
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


def _timing(batch: int, measurement: Measured, base: Measured | None) -> Timing:
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
