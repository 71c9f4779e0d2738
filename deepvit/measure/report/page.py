"""What was collected → one HTML page that needs nothing else: no script, no network, light and dark."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from deepvit.export.quantized.words import describe_check
from deepvit.metrics.distance import db_text
from deepvit.metrics.paired import percents
from deepvit.runtime.artifact.manifest import AccuracyCheck, Precision
from deepvit.runtime.errors import needed_for
from deepvit.runtime.files import replaced, write_error

from ..bench.result import Benchmark, Timed, Timing
from ..bench.words import describe_clocks, describe_copies, parts_of
from ..compare.words import verdict_of
from ..display.names import class_name
from ..evaluate.result import EvaluatedModel
from .charts import attention_charts, reliability_chart, roofline_chart, sensitivity_chart, speed_chart
from .collect import Collected
from .overview import COLUMNS, overview
from .tiles import tiles

TEMPLATES = pathlib.Path(__file__).parent
NAMED = 12  # of files that hold nothing to show


@dataclasses.dataclass(frozen=True)
class BatchTable:
    """The timings of all models at one batch size."""

    size: int
    rows: list[tuple[Timed, Timing]]

    @property
    def on_gpu(self) -> list[tuple[Timed, Timing, tuple[float, ...]]]:
        """Those whose parts were timed on a GPU, with them."""
        return [(model, each, parts_of(each.device)) for model, each in self.rows if each.device is not None]


def render_report(collected: Collected, title: str, written: str) -> str:
    """Return the page; `written` says when, and by what.

    Raises:
        MissingError: Jinja or matplotlib is not installed.
    """
    with needed_for("a report"):
        import jinja2
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        loader=jinja2.FileSystemLoader(TEMPLATES),
    )
    environment.filters |= {
        "db": db_text,
        "megabytes": _megabytes,
        "check": _check,
        "class_name": class_name,
        "largest": _largest,
        "percents": percents,
        "verdict": verdict_of,
    }
    rows = overview(collected)
    return environment.get_template("page.html").render(
        title=title,
        subtitle=_subtitle(collected),
        written=written,
        is_random=_is_random(collected),
        tiles=list(tiles(rows)),
        columns=[column for column in COLUMNS if any(column in row.cells for row in rows)],
        rows=rows,
        artifacts=collected.artifacts,
        comparisons=collected.comparisons(),
        missing=list(_missing(collected)),
        ignored=listed([*collected.others, *(name for name, _ in collected.broken)]),
        commands=list(dict.fromkeys(each.command for each in collected.results if each.command)),
        tools=collected.artifacts[0].manifest.tools if collected.artifacts else {},
        **_drawn(collected),
    )


def _drawn(collected: Collected) -> dict[str, object]:
    """Return the results that have charts, with them."""
    import markupsafe

    safe = markupsafe.Markup  # of the charts alone, which contain no text of a user's but escaped labels
    return {
        "evaluations": collected.evaluations(),
        "reliability": [
            [safe(reliability_chart(model.reliability, f"{number}-{place}")) for place, model in enumerate(each.models)]
            for number, each in enumerate(collected.evaluations())
        ],
        "sensitivities": [
            {"found": each, "svg": safe(sensitivity_chart(each, i))} for i, each in enumerate(collected.sensitivities())
        ],
        "benchmarks": [
            {
                "found": each,
                "svg": safe(speed_chart(each, i)),
                "batches": _batches(each),
                "clocks": describe_clocks(each),
                "advice": list(describe_copies(each)),
            }
            for i, each in enumerate(collected.benchmarks())
        ],
        "estimates": [
            {"found": each, "estimate": each.estimate, "svg": safe(roofline_chart(each.estimate, i))}
            for i, each in enumerate(collected.estimates())
            if each.estimate is not None
        ],
        "attentions": [
            {"found": each, "charts": [safe(svg) for svg in attention_charts(each, index)]}
            for index, each in enumerate(collected.attentions())
        ],
    }


def default_title(collected: Collected, otherwise: str) -> str:
    """Return what the page is called where nobody says: the variants and precisions of its artifacts, each once."""
    manifests = [each.manifest for each in collected.artifacts]
    if not manifests:
        return otherwise
    precisions = [each.value for each in Precision if any(manifest.precision is each for manifest in manifests)]
    return f"{_joined(sorted({each.variant for each in manifests}))} in {_joined(precisions)}"


def listed(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def write_report(path: pathlib.Path, page: str) -> None:
    """Write the page, whole or not at all.

    Raises:
        InputError: It cannot be written.
        MissingError: The disk is full.
    """
    try:
        with replaced(path) as staged:
            staged.write_text(page, encoding="utf-8")
    except OSError as error:
        raise write_error(path, "‹output›", error) from error


def _evaluated(collected: Collected) -> list[EvaluatedModel]:
    return [model for evaluation in collected.evaluations() for model in evaluation.models]


def _subtitle(collected: Collected) -> str:
    counts = (
        (len(collected.artifacts), "artifact"),
        (len(collected.evaluations()), "evaluation"),
        (len(collected.comparisons()), "comparison"),
        (len(collected.benchmarks()), "benchmark"),
        (len(collected.estimates()), "estimate of speed"),
        (len(collected.attentions()), "analysis of attention"),
        (len(collected.sensitivities()), "analysis of sensitivity"),
    )
    return "From " + ", ".join(counted(count, name) for count, name in counts if count)


def counted(count: int, name: str) -> str:
    """Return "2 analyses of attention" of 2 and "analysis of attention"."""
    first, _, rest = name.partition(" of ")
    plural = first if count == 1 else ("analyses" if first == "analysis" else f"{first}s")
    return f"{count} {plural} of {rest}" if rest else f"{count} {plural}"


def _is_random(collected: Collected) -> bool:
    trained = [not each.manifest.has_random_weights for each in collected.artifacts]
    trained += [not each.random_weights for each in _evaluated(collected)]
    return bool(collected.artifacts) and not any(trained)


def _missing(collected: Collected) -> Iterator[str]:
    """Yield what a reader might expect and will not find."""
    if not collected.artifacts:
        yield "No artifact is here: what was exported from what is not known."
    if not collected.evaluations():
        yield "Accuracy: no evaluation is here (‹deepvit› eval … ‹json›)."
    elif not any(each.reference is not None for each in _evaluated(collected)):
        yield "Flips against PyTorch: no evaluation had a reference (‹reference› pytorch)."
    if _is_random(collected):
        yield "Anything about accuracy: the weights are random."
    if not collected.comparisons():
        yield "Single images: no comparison is here (‹deepvit› compare … ‹json›)."
    if not collected.benchmarks():
        yield "Speed: no benchmark is here (‹deepvit› bench … ‹json›)."
    elif not any(each.host.gpu for each in collected.benchmarks()):
        yield "Speed on a GPU: the benchmarks ran on CPUs."
    engines = [engine for artifact in collected.artifacts for engine in artifact.manifest.engines]
    if collected.artifacts and not engines:
        yield "Engines: none was built for these artifacts."
    for engine in engines:
        if engine.census.engine is None:
            yield f"The layers and answers of {engine.file} after its build: no GPU there could load it."
    if not collected.attentions():
        yield "Attention: no analysis is here (‹deepvit› attention … ‹json›)."
    if not collected.sensitivities() and any(artifact.manifest.calibration for artifact in collected.artifacts):
        yield "Sensitivity of single linears: not measured (‹deepvit› sensitivity … ‹json›)."


def _batches(benchmark: Benchmark) -> list[BatchTable]:
    sizes = sorted({timing.batch for model in benchmark.models for timing in model.timings})
    return [
        BatchTable(size, [(model, t) for model in benchmark.models for t in model.timings if t.batch == size])
        for size in sizes
    ]


def _megabytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 1e6:.1f} MB"


def _check(check: AccuracyCheck) -> str:
    text = describe_check(check)
    return text[0].upper() + text[1:]


def _largest(activations: dict[str, float]) -> str:
    name, value = max(activations.items(), key=lambda item: item[1])
    return f"{value:.4g} in {name}"
