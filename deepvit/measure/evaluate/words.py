"""Scores in words, for a terminal."""

from collections.abc import Iterator, Sequence

import rich.table

from deepvit.metrics.distance import db_text
from deepvit.runtime.manifest import Interval

from .result import EvaluatedModel, Evaluation
from .scores import Agreement

CORRUPT_SHOWN = 10


def describe_evaluation(found: Evaluation) -> Iterator[str | rich.table.Table]:
    """Yield the scores of models that were evaluated in one pass; a table where there are several."""
    for model in found.models:
        yield from _describe_model(model, found)
        if len(found.models) > 1:
            yield ""
    if len(found.models) > 1:
        yield _table(found.models)


def _describe_model(model: EvaluatedModel, found: Evaluation) -> Iterator[str]:
    """Yield the scores of one model, line by line."""
    note = " (random weights)" if model.random_weights else ""
    yield f"model         {model.model}{note}, {model.runs_on}"
    yield f"evaluated     {found.evaluated} of {found.listed} images listed, {len(found.corrupt)} corrupt"
    published = "" if model.published_top1 is None else f", published {model.published_top1:.2%} on ImageNet-1k"
    yield f"top-1         {model.top1:.2%}{note}  (95% interval {percents(model.top1_interval)}{published})"
    yield f"top-5         {model.top5:.2%}{note}"
    if model.real_top1 is not None:
        yield f"ReaL          {model.real_top1:.2%}{note}  on the {found.real_images} images that have such labels"
    yield f"calibration   expected error {model.calibration_error:.2%}{note}"
    if model.non_finite:
        yield f"not finite    the logits of {model.non_finite} images; they count as wrong"
    if model.reference is not None:
        yield from _describe_agreement(model.reference, note)
    rate = found.images_per_second_with_decoding
    here = "nothing run now" if rate is None else f"{rate:.1f} images/s"
    yield f"speed         {here} with decoding, {model.images_per_second:.1f} the model alone"


def _describe_agreement(agreement: Agreement, note: str) -> Iterator[str]:
    sqnr = "exact" if agreement.sqnr_db is None else f"SQNR {agreement.sqnr_db:.1f} dB"
    yield (
        f"reference     {agreement.reference}: top-1 {agreement.top1:.2%}, agreement {agreement.agreement:.2%}{note} "
        f"(95% interval {percents(agreement.agreement_interval)}), {sqnr}, max abs {agreement.max_abs:.2e}"
    )
    yield (
        f"flips         {agreement.lost} lost, {agreement.gained} gained, "
        f"{agreement.changed} from one wrong class to another: "
        f"drop {100 * agreement.drop_fraction:.2f} points (95% interval {percents(agreement.drop_fraction_interval)}, "
        f"McNemar's p {agreement.mcnemar_p:.2g}){note}"
    )


def percents(interval: Interval) -> str:
    """Return an interval of fractions in percent, or points."""
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"


def _table(results: Sequence[EvaluatedModel]) -> rich.table.Table:
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("model", "top-1", "top-5", "calibration error", "agreement", "lost", "gained", "SQNR", "images/s"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for result in results:
        agreement = result.reference
        compared = ["", "", "", ""]
        if agreement is not None:
            sqnr = db_text(agreement.sqnr_db)
            compared = [f"{agreement.agreement:.2%}", f"{agreement.lost}", f"{agreement.gained}", sqnr]
        name = f"{result.model} (random weights)" if result.random_weights else result.model
        scores = [f"{result.top1:.2%}", f"{result.top5:.2%}", f"{result.calibration_error:.2%}"]
        table.add_row(name, *scores, *compared, f"{result.images_per_second:.1f}")
    return table


def describe_classes(result: EvaluatedModel, names: Sequence[str]) -> rich.table.Table:
    """Return the table of classes, the worst first."""
    table = rich.table.Table(box=None, pad_edge=False)
    columns = ["class", "images", "top-1", "top-5"] + (["reference", "change"] if result.reference else [])
    for column in columns:
        table.add_column(column, justify="left" if column == "class" else "right")
    for row in sorted(result.per_class, key=lambda each: (each.top1, each.label)):
        cells = [names[row.label], f"{row.images}", f"{row.top1:.1%}", f"{row.top5:.1%}"]
        if row.reference_top1 is not None:
            cells += [f"{row.reference_top1:.1%}", f"{100 * (row.top1 - row.reference_top1):+.1f}"]
        table.add_row(*cells)
    return table


def describe_corrupt(result: Evaluation) -> Iterator[str]:
    """Yield the images that were not scored, the first few of them."""
    for corrupt in result.corrupt[:CORRUPT_SHOWN]:
        yield f"corrupt, not scored: {corrupt.name}: {corrupt.error}"
    if len(result.corrupt) > CORRUPT_SHOWN:
        yield f"and {len(result.corrupt) - CORRUPT_SHOWN} more corrupt images; ‹json› lists them all"
