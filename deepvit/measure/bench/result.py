"""What a benchmark finds, as records."""

from typing import Annotated, Literal

import pydantic

from deepvit.metrics.result import Record, Result

from .conditions import Clocks, Conditions

Positive = Annotated[float, pydantic.Field(gt=0)]


NotCompared = Literal["the baseline", "other weights", "another input"]


class Ratio(Record):
    """Throughput against the baseline's in the same round: the median of all rounds and their quartiles."""

    median: float
    low: float
    high: float


class DeviceTime(Record):
    """The parts of a run on a GPU, in milliseconds: medians of all runs, by CUDA's events, but for staging."""

    staging_ms: float  # copying the images into pinned memory, by the host's clock
    copy_in_ms: float
    compute_ms: float
    copy_out_ms: float
    total_ms: float  # from before copying in to after copying out

    @property
    def is_bound_by_copies(self) -> bool:
        """Whether getting images to the GPU takes longer than computing, behind which it then cannot hide."""
        return self.staging_ms + self.copy_in_ms > self.compute_ms


class Timing(Record):
    """One model at one batch size; latencies in milliseconds per run, throughput in images per second."""

    batch: int
    runs: int
    p50_ms: Positive
    p90_ms: float
    p99_ms: float
    images_per_second: Positive  # of all turns, one run after another
    ratio: Ratio | None  # None where its arithmetic or the baseline's is emulated
    warm_up_runs: int
    is_stable: bool  # whether the warm-up ended because the latency no longer changed
    peak_host_bytes: int | None  # of its process so far
    peak_device_bytes: int | None
    overlapped_images_per_second: Positive | None = None  # one run copied while another is computed; None: it cannot be
    cpu_ms: float | None = None  # processor time of a run, on all cores; machines are shared, and it says more then
    device: DeviceTime | None = None  # of an engine; None where anything else runs it

    @property
    def throughput(self) -> float:
        """Images per second, however many runs are under way."""
        return max(self.images_per_second, self.overlapped_images_per_second or 0.0)


class Timed(Record):
    """One model's timings."""

    model: str
    runs_on: str
    emulated: bool  # arithmetic that rounds every tensor as declared, which nobody serves with: not to be compared
    random_weights: bool
    bytes: int | None
    open_s: float
    first_answer_s: float  # from the start of a process to the logits of one image
    sqnr_db: float | None  # of its answer to the golden image against the baseline's; None: equal, or not compared
    not_compared: NotCompared | None  # why there is no SQNR where the answers are not equal
    timings: Annotated[list[Timing], pydantic.Field(min_length=1)]
    input_dtype: str | None = None  # of the images that it takes


class Skipped(Record):
    """A model that could not be timed, and why."""

    model: str
    why: str


class Benchmark(Result):
    """The result of one run."""

    kind: Literal["benchmark"] = "benchmark"
    baseline: str
    host: Conditions
    clocks: Clocks
    rounds: int
    models: Annotated[list[Timed], pydantic.Field(min_length=1)]
    skipped: list[Skipped]
