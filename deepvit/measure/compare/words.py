"""`compare` in words, and the worst images as one picture."""

from collections.abc import Iterator, Sequence

import rich.table

from deepvit.metrics.distance import db_text
from deepvit.metrics.paired import percents

from ..display.names import class_name, short_names
from ..display.table import table_of
from .result import ComparedModel, Comparison, LayerReport, WorstImage

HOLDS = "holds"
SHOWN = 3  # worst images of each model, in words


def describe_comparison(comparison: Comparison) -> Iterator[str | rich.table.Table]:
    """Yield the ladders, what does not hold, and the worst images."""
    yield f"reference     {comparison.reference}"
    count = f"{comparison.compared} of {comparison.listed}"
    yield f"images        {count} in {comparison.dataset}, {len(comparison.corrupt)} corrupt"
    names_of = _names(comparison)
    rows = []
    for model, name in zip(comparison.models, names_of, strict=True):
        for stage in model.stages:
            against = short_names([stage.against])[0]
            figures = (f"{stage.max_abs:.2e}", db_text(stage.sqnr_db), f"{stage.top1_agreement:.2%}")
            rows.append((name, stage.stage, against, *figures))
            name = ""  # noqa: PLW2901 - on its first line alone
    yield table_of(("model", "stage", "against", "max abs", "SQNR", "agreement"), rows, texts=3)
    for model, name in zip(comparison.models, names_of, strict=True):
        yield f"{name}: {verdict_of(model)}"
        for breach in model.breaches:
            yield f"  does not hold: {breach}"
        same = "the same bytes" if model.input_max_abs == 0 else f"differs by up to {_shown(model.input_max_abs)}"
        yield f"  input: {same}"
        for worst in model.worst[:SHOWN]:
            yield f"  worst: {_words(worst, comparison.class_names)}"


def verdict_of(model: ComparedModel) -> str:
    """Return whether a model holds what it is judged by, and what it is not judged by."""
    if model.breaches:
        return "does not hold"
    if not model.stages or "agreement" in model.judged:
        return HOLDS
    judged = f"{' and '.join(model.judged)} holds" if model.judged else "nothing is judged, its precision being unknown"
    agreement = f"agreement {model.stages[-1].top1_agreement:.2%}"
    reason = ", the weights being random" if model.random_weights else ""
    return f"{judged}; {agreement} (95% interval {percents(model.agreement_intervals[-1])}) is not judged{reason}"


def _names(comparison: Comparison) -> list[str]:
    names = short_names([model.model for model in comparison.models])
    remark = {True: " (random weights)", False: ""}
    return [name + remark[model.random_weights] for name, model in zip(names, comparison.models, strict=True)]


def _shown(value: float | None) -> str:
    return "another shape" if value is None else f"{value:.3g}"


def _words(worst: WorstImage, names: Sequence[str]) -> str:
    theirs = f"{class_name(names, worst.reference_class)} {worst.reference_probability:.1%}"
    ours = f"{class_name(names, worst.model_class)} {worst.model_probability:.1%}"
    changed = " (another class)" if worst.reference_class != worst.model_class else ""
    return f"{worst.name}: {db_text(worst.sqnr_db)}, {theirs} → {ours}{changed}"


def describe_layers(report: LayerReport) -> Iterator[str | rich.table.Table]:
    """Yield the table of blocks, and where the SQNR falls most."""
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("output of", f"{report.precision.value} graph", "change") + (("engine",) if report.engine else ()):
        table.add_column(column, justify="right" if column != "output of" else "left")
    before = None
    for index, layer in enumerate(report.graph):
        change = "" if before is None or layer.sqnr_db is None else f"{layer.sqnr_db - before:+.1f}"
        engine = [db_text(report.engine[index].sqnr_db)] if report.engine else []
        table.add_row(layer.layer, db_text(layer.sqnr_db), change, *engine)
        before = layer.sqnr_db
    yield table
    fall = report.steepest_fall
    yield "the SQNR falls nowhere" if fall is None else f"falls most at {fall.layer}: by {fall.fall_db:.1f} dB"
    yield f"SQNR against float32 on {report.images} images"
    if report.engine is None:
        yield "no engine of this artifact runs on this machine: the graph alone was compared"
