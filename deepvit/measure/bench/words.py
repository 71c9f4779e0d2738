"""A benchmark as tables for a terminal."""

from collections.abc import Iterator

import rich.table

from deepvit.metrics.distance import db_text

from ..display.names import EMULATED, EMULATION, short_engine, short_names
from ..display.table import table_of
from .result import Benchmark, DeviceTime, Timed


def describe_benchmark(benchmark: Benchmark) -> Iterator[str | rich.table.Table]:
    """Yield the machine, what each model takes to open, and a table for each batch size."""
    host = benchmark.host
    gpu = f", {host.gpu}" if host.gpu else ", no GPU"
    yield f"machine       {host.cpu}, {host.cores} cores{gpu}; {describe_clocks(benchmark)}"
    names = dict(zip([each.model for each in benchmark.models], labels_of(benchmark), strict=True))
    baseline = names.get(benchmark.baseline, benchmark.baseline)
    yield from _describe_weights(benchmark, names)
    opened = [_opening(model, names[model.model]) for model in benchmark.models]
    yield table_of(("model", "runs on", "size", "first answer", "SQNR"), opened, texts=2)
    yield f"SQNR of the answer to the golden image, against {baseline}"
    random = ", random weights" if all(model.random_weights for model in benchmark.models) else ""
    for batch in sorted({timing.batch for model in benchmark.models for timing in model.timings}):
        yield ""
        yield f"batch {batch}, {benchmark.rounds} rounds{random}; latency and CPU in ms per run; × against {baseline}"
        yield _table(benchmark, batch, names)
        if rows := _rows_on_gpu(benchmark, batch, names):
            yield "on the GPU, by its events: ms per run; images/s where one run is copied while another is computed"
            yield table_of(("model", "staged", "copied in", "computed", "copied out", "in all", "images/s"), rows)
    yield from describe_copies(benchmark)
    if any(model.emulated for model in benchmark.models):
        yield f"{EMULATED}: {EMULATION}"
    for skipped in benchmark.skipped:
        yield f"not timed: {skipped.model}: {skipped.why}"


def labels_of(benchmark: Benchmark) -> list[str]:
    """Return what each model is called: short, with what has to be known of its weights and its arithmetic."""
    models = benchmark.models
    is_mixed = len({model.random_weights for model in models}) > 1
    names = short_names([model.model for model in models])
    return [_label(model, name, is_mixed) for model, name in zip(models, names, strict=True)]


def _label(model: Timed, name: str, is_mixed: bool) -> str:
    remarks = ["random"] if is_mixed and model.random_weights else []
    remarks += [EMULATED] if model.emulated else []
    return f"{name} ({', '.join(remarks)})" if remarks else name


def _describe_weights(benchmark: Benchmark, names: dict[str, str]) -> Iterator[str]:
    """Say so where answers cannot be compared for want of the same weights."""
    others = [names[model.model] for model in benchmark.models if model.not_compared == "other weights"]
    if others:
        has_random = {model.random_weights for model in benchmark.models} == {True, False}
        advice = ": peers have other weights; give ‹pretrained› or ‹checkpoint› for those of the artifact"
        yield (
            f"weights       not those of {names.get(benchmark.baseline, benchmark.baseline)}: "
            f"{', '.join(others)}; speeds compare, answers do not{advice if has_random else ''}"
        )


def _opening(model: Timed, name: str) -> tuple[str, ...]:
    size = "" if model.bytes is None else f"{model.bytes / 1e6:.1f} MB"
    sqnr = "–" if model.not_compared == "the baseline" else model.not_compared or db_text(model.sqnr_db)
    return name, short_engine(model.runs_on), size, f"{model.first_answer_s:.1f} s", sqnr


def describe_clocks(benchmark: Benchmark) -> str:
    """Return which clocks were seen, in words."""
    ranges = []
    for name, clocks in (("CPU", benchmark.clocks.cpu_mhz), ("GPU", benchmark.clocks.gpu_mhz)):
        if clocks is not None:
            ranges.append(f"{name} seen at {clocks[0]:.0f} to {clocks[1]:.0f} MHz")
    return ", ".join(ranges) or "clocks unknown"


def _table(benchmark: Benchmark, batch: int, names: dict[str, str]) -> rich.table.Table:
    rows = []
    for model in benchmark.models:
        row = next((timing for timing in model.timings if timing.batch == batch), None)
        if row is None:
            continue
        rows.append(
            (
                names[model.model],
                *(f"{value:.2f}" for value in (row.p50_ms, row.p90_ms, row.p99_ms)),
                "" if row.cpu_ms is None else f"{row.cpu_ms:.2f}",
                f"{row.images_per_second:.1f}",
                "–" if row.ratio is None else f"{row.ratio.median:.2f}",
                "–" if row.ratio is None else f"{row.ratio.low:.2f}–{row.ratio.high:.2f}",
                _megabytes(row.peak_host_bytes),
                _megabytes(row.peak_device_bytes),
            )
        )
    return table_of(("model", "p50", "p90", "p99", "CPU", "images/s", "×", "quartiles", "memory", "on the GPU"), rows)


def _rows_on_gpu(benchmark: Benchmark, batch: int, names: dict[str, str]) -> list[tuple[str, ...]]:
    return [
        (names[model.model], *(f"{part:.2f}" for part in parts_of(timing.device)), f"{timing.throughput:.1f}")
        for model in benchmark.models
        for timing in model.timings
        if timing.batch == batch and timing.device is not None
    ]


def parts_of(device: DeviceTime) -> tuple[float, ...]:
    """Return the milliseconds of a run's parts, in their order, and of all on the GPU."""
    return device.staging_ms, device.copy_in_ms, device.compute_ms, device.copy_out_ms, device.total_ms


def describe_copies(benchmark: Benchmark) -> Iterator[str]:
    """Yield a line for each model that would gain from smaller images: its largest batch is bound by their copies."""
    for model, name in zip(benchmark.models, labels_of(benchmark), strict=True):
        largest = max(model.timings, key=lambda timing: timing.batch)
        device = largest.device
        if device is None or model.input_dtype != "float32" or not device.is_bound_by_copies:
            continue
        yield (
            f"{name}: copying takes longer than computing, {device.staging_ms + device.copy_in_ms:.2f} of "
            f"{device.compute_ms:.2f} ms at batch {largest.batch}; export with ‹input› uint8, a quarter of the bytes"
        )


def _megabytes(peak_bytes: int | None) -> str:
    return "" if peak_bytes is None else f"{peak_bytes / 1e6:.0f} MB"
