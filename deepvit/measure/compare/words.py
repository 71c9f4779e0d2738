"""`compare` in words, and the worst images as one picture."""

from collections.abc import Iterator, Sequence

import rich.table

from deepvit.metrics.distance import db_text

from .result import ComparedModel, Comparison, LayerReport, WorstImage

SHOWN = 3  # worst images of each model, in words


def describe_comparison(comparison: Comparison, names: Sequence[str]) -> Iterator[str | rich.table.Table]:
    """Yield the ladders, what does not hold, and the worst images; `names` are the classes'."""
    yield f"reference     {comparison.reference}"
    count = f"{comparison.compared} of {comparison.listed}"
    yield f"images        {count} in {comparison.dataset}, {len(comparison.corrupt)} corrupt"
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("model", "stage", "against", "max abs", "SQNR", "top-1 agreement"):
        table.add_column(column, overflow="fold")
    for model in comparison.models:
        name = _named(model)
        for stage in model.stages:
            agreement = f"{stage.top1_agreement:.2%}"
            table.add_row(name, stage.stage, stage.against, f"{stage.max_abs:.2e}", db_text(stage.sqnr_db), agreement)
            name = ""
    yield table
    for model in comparison.models:
        same = "the same bytes" if model.input_max_abs == 0 else f"differs by up to {_shown(model.input_max_abs)}"
        yield f"input of {_named(model)}: {same}"
        for worst in model.worst[:SHOWN]:
            yield f"  worst: {_words(worst, names)}"
        for breach in model.breaches:
            yield f"  does not hold: {breach}"


def _named(model: ComparedModel) -> str:
    return f"{model.model} (random weights)" if model.random_weights else model.model


def _shown(value: float | None) -> str:
    return "another shape" if value is None else f"{value:.3g}"


def _words(worst: WorstImage, names: Sequence[str]) -> str:
    theirs = f"{names[worst.reference_class]} {worst.reference_probability:.1%}"
    ours = f"{names[worst.model_class]} {worst.model_probability:.1%}"
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
