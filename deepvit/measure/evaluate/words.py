"""Scores in words, for a terminal."""

from collections.abc import Iterator, Sequence

import rich.table

from deepvit.metrics.distance import db_text

from .result import Evaluation
from .scores import Agreement

CORRUPT_SHOWN = 10


def describe_evaluations(results: Sequence[Evaluation]) -> Iterator[str | rich.table.Table]:
    """Yield the scores of models that were evaluated in one pass; a table where there are several."""
    for result in results:
        yield from describe_evaluation(result)
        if len(results) > 1:
            yield ""
    if len(results) > 1:
        yield _table(results)


def describe_evaluation(result: Evaluation) -> Iterator[str]:
    """Yield the scores of one model, line by line."""
    note = " (random weights)" if result.random_weights else ""
    low, high = result.top1_interval.low, result.top1_interval.high
    yield f"model         {result.model}{note}, {result.runs_on}"
    yield f"evaluated     {result.evaluated} of {result.listed} images listed, {len(result.corrupt)} corrupt"
    published = "" if result.published_top1 is None else f", published {result.published_top1:.2f}% on ImageNet-1k"
    yield f"top-1         {result.top1:.2f}%{note}  (95% interval {low:.2f} to {high:.2f}{published})"
    yield f"top-5         {result.top5:.2f}%{note}"
    if result.real_top1 is not None:
        yield f"ReaL          {result.real_top1:.2f}%{note}  on the {result.real_images} images that have such labels"
    yield f"calibration   expected error {result.calibration_error:.2f}%{note}"
    if result.non_finite:
        yield f"not finite    the logits of {result.non_finite} images; they count as wrong"
    if result.reference is not None:
        yield from _describe_agreement(result.reference, note)
    here = "nothing run now" if result.images_per_second is None else f"{result.images_per_second:.1f} images/s"
    yield f"speed         {here} with decoding, {result.model_images_per_second:.1f} the model alone"


def _describe_agreement(agreement: Agreement, note: str) -> Iterator[str]:
    sqnr = "exact" if agreement.sqnr_db is None else f"SQNR {agreement.sqnr_db:.1f} dB"
    interval, drop = agreement.interval, agreement.drop_interval
    yield (
        f"reference     {agreement.reference}: top-1 {agreement.top1:.2f}%, agreement {agreement.agreement:.2f}%{note} "
        f"(95% interval {interval.low:.2f} to {interval.high:.2f}), {sqnr}, max abs {agreement.max_abs:.2e}"
    )
    yield (
        f"flips         {agreement.lost} lost, {agreement.gained} gained, "
        f"{agreement.changed} from one wrong class to another: "
        f"drop {agreement.drop:.2f} points (95% interval {drop.low:.2f} to {drop.high:.2f}, "
        f"McNemar's p {agreement.mcnemar_p:.2g}){note}"
    )


def _table(results: Sequence[Evaluation]) -> rich.table.Table:
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("model", "top-1", "top-5", "calibration error", "agreement", "lost", "gained", "SQNR", "images/s"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for result in results:
        agreement = result.reference
        compared = ["", "", "", ""]
        if agreement is not None:
            sqnr = db_text(agreement.sqnr_db)
            compared = [f"{agreement.agreement:.2f}%", f"{agreement.lost}", f"{agreement.gained}", sqnr]
        name = f"{result.model} (random weights)" if result.random_weights else result.model
        scores = [f"{result.top1:.2f}%", f"{result.top5:.2f}%", f"{result.calibration_error:.2f}%"]
        table.add_row(name, *scores, *compared, f"{result.model_images_per_second:.1f}")
    return table


def describe_classes(result: Evaluation, names: Sequence[str]) -> rich.table.Table:
    """Return the table of classes, the worst first."""
    table = rich.table.Table(box=None, pad_edge=False)
    columns = ["class", "images", "top-1", "top-5"] + (["reference", "change"] if result.reference else [])
    for column in columns:
        table.add_column(column, justify="left" if column == "class" else "right")
    for row in sorted(result.per_class, key=lambda each: (each.top1, each.label)):
        cells = [names[row.label], f"{row.images}", f"{row.top1:.1f}%", f"{row.top5:.1f}%"]
        if row.reference_top1 is not None:
            cells += [f"{row.reference_top1:.1f}%", f"{row.top1 - row.reference_top1:+.1f}"]
        table.add_row(*cells)
    return table


def describe_corrupt(result: Evaluation) -> Iterator[str]:
    """Yield the images that were not scored, the first few of them."""
    for corrupt in result.corrupt[:CORRUPT_SHOWN]:
        yield f"corrupt, not scored: {corrupt.name}: {corrupt.error}"
    if len(result.corrupt) > CORRUPT_SHOWN:
        yield f"and {len(result.corrupt) - CORRUPT_SHOWN} more corrupt images; ‹json› lists them all"
