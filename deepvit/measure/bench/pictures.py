"""A benchmark as a plot of latency against throughput."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..display.figures import new_figure, plain, save_figure
from .result import Benchmark
from .words import labels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS, MARKERS = 10, "os^D"  # of matplotlib's colours there are ten; who has the same as another has another marker


def draw_speed(axes: "Axes", benchmark: Benchmark, colours: Sequence[str] | None = None) -> None:
    """Draw latency (p50) against throughput, a line for each model, a point for each batch size; dashed: emulated."""
    from matplotlib.ticker import LogLocator, NullLocator

    for place, (model, name) in enumerate(zip(benchmark.models, labels_of(benchmark), strict=True)):
        latency = [timing.p50_ms for timing in model.timings]
        speed = [timing.images_per_second for timing in model.timings]
        colour = None if colours is None else colours[place % len(colours)]
        marker = MARKERS[place // (COLOURS if colours is None else len(colours)) % len(MARKERS)]
        (line,) = axes.plot(latency, speed, marker=marker, markersize=4, color=colour, label=plain(name))
        if model.emulated:
            line.set_linestyle("--")
            line.set_markerfacecolor("none")
        for timing, x, y in zip(model.timings, latency, speed, strict=True):
            offset = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": 7, "color": line.get_color()}
            axes.annotate(f"{timing.batch}", (x, y), **offset)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0, 1.12 * max(timing.images_per_second for model in benchmark.models for timing in model.timings))
    axes.set_xlabel("latency of a run in ms, median (numbers: batch size)")
    axes.set_ylabel("images per second")
    axes.grid(alpha=0.25)


def draw_benchmark(benchmark: Benchmark, path: pathlib.Path) -> None:
    """Write latency against throughput to a PNG, SVG or PDF file.

    Raises:
        InputError: The file cannot be written.
        MissingError: matplotlib is not installed.
    """
    figure = new_figure((7, 4.6))
    axes = figure.add_subplot()
    draw_speed(axes, benchmark)
    axes.legend(fontsize=8)
    host = benchmark.host
    random = "; random weights" if all(model.random_weights for model in benchmark.models) else ""
    figure.suptitle(f"{host.gpu or host.cpu}, {host.cores} cores{random}", fontsize=9)
    save_figure(figure, path, "‹plot›")
