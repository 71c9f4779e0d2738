"""One row for each model, whatever is known of it, and the best of each column."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator

from deepvit.metrics.distance import db_text
from deepvit.metrics.paired import percents
from deepvit.runtime.artifact import MODEL, Artifact
from deepvit.runtime.artifact.manifest import ParityStage, Precision

from ..bench.result import Benchmark, Timed
from ..compare.result import ComparedModel
from ..compare.words import HOLDS
from ..display.names import short_names
from ..evaluate.result import EvaluatedModel, Evaluation
from .collect import Collected

COLUMNS = {  # name → which of two is better; None: none is
    "precision": None,
    "top-1": max,
    "agreement": max,
    "SQNR": max,
    "size": min,
    "latency": min,
    "throughput": max,
    "verdict": None,
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """A figure and what explains it; it can be compared with others of its column of the same `group`, if any."""

    text: str
    note: str = ""
    value: float = 0.0
    group: str | None = None
    tone: str = ""
    is_best: bool = False


@dataclasses.dataclass(frozen=True)
class Row:
    """One model."""

    name: str
    has_random_weights: bool
    cells: dict[str, Cell]


@dataclasses.dataclass
class _Known:
    """What is known of a model that results call `name`."""

    name: str
    artifact: Artifact | None = None
    evaluated: tuple[Evaluation, EvaluatedModel] | None = None
    compared: ComparedModel | None = None
    timed: tuple[Benchmark, Timed] | None = None

    @property
    def has_random_weights(self) -> bool:
        if self.artifact:
            return self.artifact.manifest.has_random_weights
        evaluated, timed = (each[1] if each else None for each in (self.evaluated, self.timed))
        return any(each.random_weights for each in (evaluated, timed, self.compared) if each)


def overview(collected: Collected) -> list[Row]:
    """Return a row for each artifact and each other model of the results, and mark the best of each column.

    Best is marked only among figures that can be compared: top-1 and agreement of one list of images, speeds of one
    benchmark that are no emulation's. Where all are equal, none is best.
    """
    models = _known(collected)
    names = short_names([known.name for known in models])
    rows = [Row(name, known.has_random_weights, dict(_cells(known))) for name, known in zip(names, models, strict=True)]
    for column, better in COLUMNS.items():
        if better is not None:
            _mark_best(rows, column, better)
    return rows


def _known(collected: Collected) -> list[_Known]:
    models = [_Known(str(artifact.folder), artifact) for artifact in sorted(collected.artifacts, key=_order)]
    for evaluation in collected.evaluations():
        for model in evaluation.models:
            found = _find(models, model.model)
            if found.evaluated is None or found.evaluated[0].evaluated < evaluation.evaluated:
                found.evaluated = (evaluation, model)
    for comparison in collected.comparisons():
        for compared in comparison.models:
            _find(models, compared.model).compared = compared
    for benchmark in collected.benchmarks():
        for timed in benchmark.models:
            _find(models, timed.model).timed = (benchmark, timed)
    return models


def _order(artifact: Artifact) -> tuple[str, int, str]:
    manifest = artifact.manifest
    return manifest.variant, list(Precision).index(manifest.precision), artifact.folder.name


def _find(models: list[_Known], name: str) -> _Known:
    """Return the one model whose path ends as `name` does, or the other way round; else a new one."""
    found = [each for each in models if each.name == name] or [each for each in models if _is_same(each, name)]
    if len(found) != 1:
        models.append(_Known(name))
        return models[-1]
    return found[0]


def _is_same(known: _Known, name: str) -> bool:
    path = pathlib.PurePath(name)
    if known.artifact and path.name == MODEL and not known.artifact.manifest.engines:
        path = path.parent  # its graph is all that an artifact without engines runs
    shorter, longer = sorted((pathlib.PurePath(known.name).parts, path.parts), key=len)
    return bool(shorter) and longer[-len(shorter) :] == shorter


def _cells(known: _Known) -> Iterator[tuple[str, Cell]]:
    precision = known.compared.precision if known.compared else None
    if known.artifact:
        precision = known.artifact.manifest.precision
    if precision:
        yield "precision", Cell(precision.value)
    if known.evaluated:
        evaluation, model = known.evaluated
        yield "top-1", Cell(f"{model.top1:.2%}", percents(model.top1_interval), model.top1, evaluation.list_sha256)
        if model.reference:
            reference = model.reference
            note = percents(reference.agreement_interval)
            yield "agreement", Cell(f"{reference.agreement:.2%}", note, reference.agreement, evaluation.list_sha256)
    if sqnr := _sqnr(known):
        yield "SQNR", sqnr
    if (size := _size(known)) is not None:
        yield "size", Cell(f"{size / 1e6:.2f} MB", "", size, "size")
    if known.timed:
        yield from _speeds(*known.timed)
    if verdict := _verdict(known):
        yield "verdict", verdict


def _sqnr(known: _Known) -> Cell | None:
    if known.evaluated and known.evaluated[1].reference:
        evaluation, model = known.evaluated
        assert model.reference is not None
        return _decibels(model.reference.sqnr_db, f"{evaluation.evaluated} images", evaluation.list_sha256)
    if known.compared and known.compared.stages:
        return _of_stage(known.compared.stages[-1], "compared")
    parity = known.artifact.manifest.parity if known.artifact else []
    stages = [each for each in parity if each.stage.startswith("onnx-")]
    return _of_stage(stages[-1], "exported") if stages else None


def _of_stage(stage: ParityStage, group: str) -> Cell:
    return _decibels(stage.sqnr_db, f"{stage.images} images, {stage.against}", group)


def _decibels(value: float | None, note: str, group: str) -> Cell:
    return Cell(db_text(value), note, math.inf if value is None else value, group)


def _size(known: _Known) -> int | None:
    if known.artifact and MODEL in known.artifact.manifest.files:
        return known.artifact.manifest.files[MODEL].bytes
    return known.timed[1].bytes if known.timed else None


def _speeds(benchmark: Benchmark, timed: Timed) -> Iterator[tuple[str, Cell]]:
    """Yield the latency of the smallest batch, and the throughput of the one that has most."""
    group = None if timed.emulated else benchmark.host.model_dump_json() + benchmark.baseline
    first = min(timed.timings, key=lambda timing: timing.batch)
    most = max(timed.timings, key=lambda timing: timing.throughput)
    tone, note = ("soft", ", emulated") if timed.emulated else ("", "")
    yield "latency", Cell(f"{first.p50_ms:.2f} ms", f"batch {first.batch}{note}", first.p50_ms, group, tone)
    speed = most.throughput
    yield "throughput", Cell(f"{speed:.1f}/s", f"batch {most.batch}{note}", speed, group, tone)


def _verdict(known: _Known) -> Cell | None:
    """Return what is certain: a bound that is broken, a loss beyond chance; else what was held against its bounds."""
    reference = known.evaluated[1].reference if known.evaluated else None
    drop = "" if reference is None else f"drop {100 * reference.drop_fraction:.2f} points"
    if known.compared and known.compared.breaches:
        return Cell("does not hold", drop, tone="bad")
    if reference is not None and reference.drop_fraction_interval.low > 0:
        return Cell("loses accuracy", drop, tone="bad")
    if known.compared:
        judged = known.compared.judged
        if "agreement" in judged or not known.compared.stages:
            return Cell(HOLDS, drop, tone="good")
        return Cell(f"{' and '.join(judged)} holds" if judged else "not judged", drop, tone="partly")
    if reference is not None:
        return Cell("no loss shown", drop)
    return Cell("parity held", "at export") if known.artifact and known.artifact.manifest.parity else None


def _mark_best(rows: list[Row], column: str, better: Callable[[list[float]], float]) -> None:
    """Mark the best among the largest group of figures of a column that can be compared."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        cell = row.cells.get(column)
        if cell is not None and cell.group is not None:
            groups.setdefault(cell.group, []).append(row)
    largest = max(groups.values(), key=len, default=[])
    values = [row.cells[column].value for row in largest]
    if len(set(values)) < 2:
        return
    for row in largest:
        if row.cells[column].value == better(values):
            row.cells[column] = dataclasses.replace(row.cells[column], is_best=True)
