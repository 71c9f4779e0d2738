"""A benchmark as a table for a terminal, and as a plot of latency against throughput."""

from collections.abc import Iterator

import rich.table

from .result import Benchmark, Timed


def describe_benchmark(benchmark: Benchmark) -> Iterator[str | rich.table.Table]:
    """Yield the machine, what each model takes to open, and a table for each batch size."""
    host = benchmark.host
    gpu = f", {host.gpu}" if host.gpu else ", no GPU"
    yield f"machine       {host.cpu}, {host.cores} cores{gpu}; {describe_clocks(benchmark)}"
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("model", "runs on", "size", "first answer", "SQNR to the baseline"):
        table.add_column(column, overflow="fold")
    for model in benchmark.models:
        size = "" if model.bytes is None else f"{model.bytes / 1e6:.0f} MB"
        name = _named(model)
        sqnr = "" if model.sqnr_db is None else f"{model.sqnr_db:.0f} dB"
        table.add_row(name, model.runs_on, size, f"{model.first_answer_s:.1f} s", sqnr)
    yield table
    for batch in sorted({timing.batch for model in benchmark.models for timing in model.timings}):
        yield ""
        yield f"batch {batch}, {benchmark.rounds} rounds; latency in ms per run; × against {benchmark.baseline}"
        yield _table(benchmark, batch)
    for skipped in benchmark.skipped:
        yield f"not timed: {skipped.model}: {skipped.why}"


def describe_clocks(benchmark: Benchmark) -> str:
    """Return which clocks were seen, in words."""
    ranges = []
    for name, clocks in (("CPU", benchmark.clocks.cpu_mhz), ("GPU", benchmark.clocks.gpu_mhz)):
        if clocks is not None:
            ranges.append(f"{name} seen at {clocks[0]:.0f} to {clocks[1]:.0f} MHz")
    return ", ".join(ranges) or "clocks unknown"


def _table(benchmark: Benchmark, batch: int) -> rich.table.Table:
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("model", "p50", "p90", "p99", "images/s", "×", "quartiles", "peak memory", "on the GPU"):
        table.add_column(column, justify="left" if column == "model" else "right", overflow="fold")
    for model in benchmark.models:
        row = next((timing for timing in model.timings if timing.batch == batch), None)
        if row is None:
            continue
        table.add_row(
            _named(model),
            *(f"{value:.2f}" for value in (row.p50_ms, row.p90_ms, row.p99_ms)),
            f"{row.images_per_second:.1f}",
            "–" if row.ratio is None else f"{row.ratio.median:.2f}",
            "emulated" if row.ratio is None else f"{row.ratio.low:.2f} to {row.ratio.high:.2f}",
            _megabytes(row.peak_host_bytes),
            _megabytes(row.peak_device_bytes),
        )
    return table


def _named(model: Timed) -> str:
    return f"{model.model} (random weights)" if model.random_weights else model.model


def _megabytes(peak_bytes: int | None) -> str:
    return "" if peak_bytes is None else f"{peak_bytes / 1e6:.0f} MB"
