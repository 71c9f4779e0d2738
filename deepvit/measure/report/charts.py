"""Charts of the report, as SVG that stands in the page and takes its colours."""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deepvit.calibration.budget.result import Sensitivity
from deepvit.runtime.errors import needed_for

from ..attention.analysis import AttentionAnalysis
from ..attention.similarity import draw_heads, draw_matrices, draw_neighbours, titled_matrices
from ..bench.pictures import draw_speed
from ..bench.result import Benchmark
from ..display.figures import draw_sqnr, new_figure
from ..evaluate.scores import ReliabilityBin
from ..results.estimate import SpeedEstimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"  # stands for the page's own colour of text
COLOURS = (  # on dark and light
    "#3b82f6", "#f97316", "#22a06b", "#c0479b", "#b08900", "#7c6fe0", "#0e9aa7", "#d64545", "#8a94a3", "#7cab2f",
)  # fmt: skip
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "savefig.transparent": True,
}


def speed_chart(benchmark: Benchmark, number: int) -> str:
    """Draw latency against throughput, a line for each model."""
    with _styled():
        figure = new_figure((4.6, 3.3 + 0.09 * len(benchmark.models)))
        draw_speed(figure.add_subplot(), benchmark, COLOURS)
        figure.legend(loc="outside lower center", fontsize=8, ncols=2)
        return _svg(figure, f"speed{number}", "Latency against throughput; the figures are in the table above")


def reliability_chart(bins: Sequence[ReliabilityBin], name: str) -> str:
    """Draw top-1 by the probability of the top-1 class."""
    with _styled():
        figure = new_figure((3.0, 2.6))
        axes = figure.add_subplot()
        bars = [each for each in bins if each.images]
        axes.plot([0, 100], [0, 100], color=INK, linestyle="--", linewidth=0.8)
        centres, heights = zip(*((50 * (each.low + each.high), 100 * (each.top1 or 0)) for each in bars), strict=True)
        axes.bar(centres, heights, 5.6, color=COLOURS[0])
        axes.set_xlabel("probability of the top-1 class, %")
        axes.set_ylabel("of these right, %")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        return _svg(figure, f"reliability{name}", "How often the model is right, by the probability that it gives")


def attention_charts(analysis: AttentionAnalysis, number: int) -> Iterator[str]:
    """Draw the similarities between blocks as matrices, to the block before, and between heads: three charts."""
    matrices = titled_matrices(analysis)
    with _styled():
        figure = new_figure((2.5 * len(matrices) + 0.8, 2.7))
        draw_matrices(figure, matrices)
        yield _svg(figure, f"attention{number}-blocks", "Similarity between blocks; the counts are in the text")
    for name, draw in (("neighbours", draw_neighbours), ("heads", draw_heads)):
        with _styled():
            figure = new_figure((3.6, 2.8))
            draw(figure.add_subplot(), analysis)
            yield _svg(figure, f"attention{number}-{name}", f"Similarity between {name}, block by block")


def sensitivity_chart(sensitivity: Sensitivity, number: int) -> str:
    """Draw the SQNR of every linear quantised alone, block by block."""
    with _styled():
        figure = new_figure((6.4, 3.0))
        axes = figure.add_subplot()
        draw_sqnr(axes, sensitivity, "alone_sqnr_db", COLOURS)
        axes.set_xlabel("block")
        axes.set_ylabel("SQNR in dB, quantised alone")
        return _svg(figure, f"sensitivity{number}", "SQNR of each linear quantised alone; lower is more sensitive")


def roofline_chart(estimate: SpeedEstimate, number: int) -> str:
    """Draw the roofs of a GPU by its data sheet, and an engine below them, a point for each batch size."""
    points = [
        (gflop * 1e3 / each.mb_per_image, gflop * each.estimated_images_per_s / 1e3, each.batch)
        for each in estimate.batches
        if (gflop := sum(each.gflop_per_image.values()))
    ]
    kinds = dict.fromkeys(kind for each in estimate.batches for kind in each.gflop_per_image)
    ridges = [1e3 * estimate.peak_tflops[kind] / estimate.memory_gb_per_s for kind in kinds]
    left = min([x for x, _, _ in points] + ridges, default=1.0) / 4
    right = max([x for x, _, _ in points] + ridges, default=1.0) * 4
    with _styled():
        figure = new_figure((4.6, 3.2))
        axes = figure.add_subplot()
        for kind, ridge, colour in zip(kinds, ridges, COLOURS, strict=False):
            peak = estimate.peak_tflops[kind]
            axes.plot([left, ridge, right], [peak * left / ridge, peak, peak], color=colour, label=f"{kind} {peak:g}")
        for place, (x, y, batch) in enumerate(points):
            axes.plot(x, y, "o", color=INK, markersize=4)
            axes.annotate(
                f"{batch}", (x, y), xytext=(4, -10) if place % 2 else (-10, 5), textcoords="offset points", fontsize=8
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("operations a byte")
        axes.set_ylabel("TFLOP/s, estimated")
        axes.legend(title="peak TFLOP/s", fontsize=8, loc="lower right")
        return _svg(figure, f"roofline{number}", "Roofs of the GPU and the estimate of each batch size below them")


@contextlib.contextmanager
def _styled() -> Iterator[None]:
    """Make the figures of the block in the page's style."""
    with needed_for("a report"):
        import matplotlib as mpl
    with mpl.rc_context(STYLE):
        yield


def _svg(figure: "Figure", name: str, alternative: str) -> str:
    """Return the figure as an element of the page, its identifiers its own and its ink the page's."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    text = text.replace(INK, "currentColor").replace("stroke: #b0b0b0", "stroke: currentColor")
    text = re.sub(r"font: ([^;\"]*?)'[^;\"]*", r"font: \1sans-serif", text)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{alternative}" ', text, count=1)
