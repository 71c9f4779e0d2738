"""What was collected → one HTML page that needs nothing else: no script, no network, light and dark."""

import dataclasses
import pathlib
from collections.abc import Iterator

from deepvit.export.quantized.held_out_check import describe_check
from deepvit.metrics.distance import db_text
from deepvit.runtime.errors import needed_for
from deepvit.runtime.files import replaced, write_error
from deepvit.runtime.manifest import AccuracyCheck

from ..bench.result import Benchmark, Timed, Timing
from ..bench.words import describe_clocks
from ..compare.words import HOLDS, verdict_of
from ..evaluate.result import EvaluatedModel
from ..evaluate.words import percents
from .charts import attention_charts, reliability_chart, speed_chart
from .collect import Collected

TEMPLATE = pathlib.Path(__file__).with_name("page.html")
FULL_BAR_DB = 140.0  # what float32 reaches; more is a full bar


@dataclasses.dataclass(frozen=True)
class Tile:
    """One figure at the top of the page."""

    what: str
    value: str
    note: str = ""
    tone: str = ""


@dataclasses.dataclass(frozen=True)
class BatchTable:
    """The timings of all models at one batch size."""

    size: int
    rows: list[tuple[Timed, Timing]]


def render_report(collected: Collected, title: str) -> str:
    """Return the page.

    Raises:
        MissingError: Jinja or matplotlib is not installed.
    """
    with needed_for("a report"):
        import jinja2
        import markupsafe
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "db": db_text,
        "share": _share,
        "megabytes": _megabytes,
        "check": _check,
        "largest": _largest,
        "percents": percents,
        "verdict": verdict_of,
    }
    evaluations = collected.evaluations()
    safe = markupsafe.Markup  # of the charts alone, which contain no text of a user's but escaped labels
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        subtitle=_subtitle(collected),
        is_random=_is_random(collected),
        tiles=list(_tiles(collected)),
        artifacts=collected.artifacts,
        evaluations=evaluations,
        reliability=[
            [safe(reliability_chart(model.reliability, f"{number}-{place}")) for place, model in enumerate(each.models)]
            for number, each in enumerate(evaluations)
        ],
        comparisons=collected.comparisons(),
        sensitivities=collected.sensitivities(),
        benchmarks=[
            {
                "found": each,
                "svg": safe(speed_chart(each, i)),
                "batches": _batches(each),
                "clocks": describe_clocks(each),
            }
            for i, each in enumerate(collected.benchmarks())
        ],
        attentions=[
            {"found": each, "charts": [safe(svg) for svg in attention_charts(each, index)]}
            for index, each in enumerate(collected.attentions())
        ],
        missing=list(_missing(collected)),
        ignored=[name for name, _ in collected.ignored],
        tools=collected.artifacts[0].manifest.tools if collected.artifacts else {},
    )


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
        (len(collected.attentions()), "analysis of attention"),
    )
    return "From " + ", ".join(f"{count} {_plural(name, count)}" for count, name in counts if count)


def _plural(name: str, count: int) -> str:
    first, _, rest = name.partition(" of ")
    plural = first if count == 1 else ("analyses" if first == "analysis" else f"{first}s")
    return f"{plural} of {rest}" if rest else plural


def _is_random(collected: Collected) -> bool:
    trained = [not each.manifest.has_random_weights for each in collected.artifacts]
    trained += [not each.random_weights for each in _evaluated(collected)]
    return bool(collected.artifacts) and not any(trained)


def _tiles(collected: Collected) -> Iterator[Tile]:
    for artifact in collected.artifacts[:1]:
        stages = [stage for stage in artifact.manifest.parity if stage.stage.startswith("onnx-")]
        if stages:
            last = stages[-1]
            note = f"{artifact.folder.name}: {last.stage} against {last.against}"
            yield Tile("SQNR of the logits", db_text(last.sqnr_db), _called(note, artifact.manifest.has_random_weights))
    for evaluation in collected.evaluations()[:1]:
        first = evaluation.models[0]
        note = f"{first.model}, {evaluation.evaluated} images, {percents(first.top1_interval)}"
        yield Tile("top-1", f"{first.top1:.2%}", _called(note, first.random_weights))
    for each in _evaluated(collected):
        if each.reference is not None:
            agreement = each.reference
            sure = "bad" if agreement.drop_fraction_interval.low > 0 else ""
            note = _called(f"{each.model} against {agreement.reference}", each.random_weights)
            yield Tile("drop, points", f"{100 * agreement.drop_fraction:.2f}", note, sure)
            flips = _called(f"{agreement.lost} lost, {agreement.gained} gained", each.random_weights)
            yield Tile("agreement", f"{agreement.agreement:.2%}", flips)
            break
    for benchmark in collected.benchmarks()[:1]:
        timed = [
            (t.images_per_second, model, t) for model in benchmark.models if not model.emulated for t in model.timings
        ]
        if timed:
            best, model, timing = max(timed, key=lambda each: each[0])
            ratio = "" if timing.ratio is None else f", {timing.ratio.median:.2f}×"
            note = f"{model.model}, batch {timing.batch}{ratio}"
            yield Tile("images per second", f"{best:.1f}", _called(note, model.random_weights))
    for comparison in collected.comparisons()[:1]:
        broken = [model.model for model in comparison.models if model.breaches]
        note = ", ".join(broken) if broken else f"{comparison.compared} images without labels"
        random = any(model.random_weights for model in comparison.models)
        is_judged = all(verdict_of(model) == HOLDS for model in comparison.models)
        verdict = "does not hold" if broken else "holds" if is_judged else "SQNR holds"
        yield Tile("compared", verdict, _called(note, random), "bad" if broken else "good" if is_judged else "")


def _called(note: str, is_random: bool) -> str:
    return f"{note}, random weights" if is_random else note


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


def _share(value: float | None) -> str:
    return "100" if value is None else f"{100 * min(max(value, 0.0) / FULL_BAR_DB, 1.0):.1f}"


def _megabytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 1e6:.1f} MB"


def _check(check: AccuracyCheck) -> str:
    text = describe_check(check)
    return text[0].upper() + text[1:]


def _largest(activations: dict[str, float]) -> str:
    name, value = max(activations.items(), key=lambda item: item[1])
    return f"{value:.4g} in {name}"
