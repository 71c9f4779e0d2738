"""A benchmark as a table for a terminal, and as a plot of latency against throughput."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import rich.table

from ..figures import new_figure, plain, save_figure
from .result import Benchmark, Timed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def describe_benchmark(found: Benchmark) -> Iterator[str | rich.table.Table]:
    """Yield the machine, what each model takes to open, and a table for each batch size."""
    host = found.host
    gpu = f", {host.gpu}" if host.gpu else ", no GPU"
    yield f"machine       {host.cpu}, {host.cores} cores{gpu}; {describe_clocks(found)}"
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("model", "runs on", "size", "first answer", "SQNR to the baseline"):
        table.add_column(column, overflow="fold")
    for model in found.models:
        size = "" if model.bytes is None else f"{model.bytes / 1e6:.0f} MB"
        name = _named(model)
        sqnr = "" if model.sqnr_db is None else f"{model.sqnr_db:.0f} dB"
        table.add_row(name, model.runs_on, size, f"{model.first_answer_s:.1f} s", sqnr)
    yield table
    for batch in sorted({timing.batch for model in found.models for timing in model.timings}):
        yield ""
        yield f"batch {batch}, {found.rounds} rounds; latency in ms per run; × against {found.baseline}"
        yield _table(found, batch)
    for skipped in found.skipped:
        yield f"not timed: {skipped.name}: {skipped.why}"


def describe_clocks(found: Benchmark) -> str:
    """Return which clocks were seen, in words."""
    seen = []
    for name, clocks in (("CPU", found.clocks.cpu_mhz), ("GPU", found.clocks.gpu_mhz)):
        if clocks is not None:
            seen.append(f"{name} seen at {clocks[0]:.0f} to {clocks[1]:.0f} MHz")
    return ", ".join(seen) or "clocks unknown"


def _table(found: Benchmark, batch: int) -> rich.table.Table:
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("model", "p50", "p90", "p99", "images/s", "×", "quartiles", "peak memory", "on the GPU"):
        table.add_column(column, justify="left" if column == "model" else "right", overflow="fold")
    for model in found.models:
        row = next((timing for timing in model.timings if timing.batch == batch), None)
        if row is None:
            continue
        table.add_row(
            _named(model),
            *(f"{value:.2f}" for value in (row.p50_ms, row.p90_ms, row.p99_ms)),
            f"{row.images_per_second:.1f}",
            f"{row.ratio.median:.2f}",
            f"{row.ratio.low:.2f} to {row.ratio.high:.2f}",
            _megabytes(row.peak_host_bytes),
            _megabytes(row.peak_device_bytes),
        )
    return table


def _named(model: Timed) -> str:
    return f"{model.name} (random weights)" if model.random_weights else model.name


def _megabytes(used: int | None) -> str:
    return "" if used is None else f"{used / 1e6:.0f} MB"


def draw_speed(axes: "Axes", found: Benchmark, colours: Sequence[str] | None = None) -> None:
    """Draw latency (p50) against throughput, a line for each model, a point for each batch size."""
    from matplotlib.ticker import LogLocator, NullLocator

    for place, model in enumerate(found.models):
        latency = [timing.p50_ms for timing in model.timings]
        speed = [timing.images_per_second for timing in model.timings]
        colour = None if colours is None else colours[place % len(colours)]
        (line,) = axes.plot(latency, speed, marker="o", markersize=4, color=colour, label=plain(model.name))
        for timing, x, y in zip(model.timings, latency, speed, strict=True):
            offset = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": 7, "color": line.get_color()}
            axes.annotate(f"{timing.batch}", (x, y), **offset)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0, 1.12 * max(timing.images_per_second for model in found.models for timing in model.timings))
    axes.set_xlabel("latency of a run in ms, median (numbers: batch size)")
    axes.set_ylabel("images per second")
    axes.grid(alpha=0.25)


def draw_benchmark(found: Benchmark, path: pathlib.Path) -> None:
    """Write latency against throughput to a PNG, SVG or PDF file.

    Raises:
        InputError: The file cannot be written.
        MissingError: matplotlib is not installed.
    """
    figure = new_figure((7, 4.6))
    axes = figure.add_subplot()
    draw_speed(axes, found)
    axes.legend(fontsize=8)
    host = found.host
    random = "; random weights" if any(model.random_weights for model in found.models) else ""
    figure.suptitle(f"{host.gpu or host.cpu}, {host.cores} cores{random}", fontsize=9)
    save_figure(figure, path, "--plot")
