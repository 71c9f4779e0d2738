"""Scores in words, for a terminal."""

import string
from collections.abc import Iterator, Sequence

import rich.table

from deepvit.metrics.distance import db_text
from deepvit.metrics.paired import percents

from ..display.names import EMULATED, EMULATION, class_name, short_names
from ..display.table import table_of
from .result import EvaluatedModel, Evaluation
from .scores import Agreement

CORRUPT_SHOWN = 10
SPARE = 50  # columns of 80 that a table of classes has for the models


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
    yield f"speed         {_speed(model, found)}"


def _speed(model: EvaluatedModel, found: Evaluation) -> str:
    rate = found.images_per_second_with_decoding
    here = "nothing run now" if rate is None else f"{rate:.1f} images/s"
    alone = f"{here} with decoding, {model.images_per_second:.1f} the model alone"
    if model.emulated:
        return f"{EMULATED}: {alone}; {EMULATION}: ‹deepvit› bench times what does"
    is_slowed = rate is not None and any(each.emulated for each in found.models)
    return f"{alone} (with decoding: of all models, {EMULATED} ones among them)" if is_slowed else alone


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


def _table(models: Sequence[EvaluatedModel]) -> rich.table.Table:
    names = short_names([model.model for model in models])
    rows = []
    for name, model in zip(names, models, strict=True):
        agreement = model.reference
        compared = ["", "", ""]
        if agreement is not None:
            flips = f"−{agreement.lost} +{agreement.gained}"
            compared = [f"{agreement.agreement:.2%}", flips, db_text(agreement.sqnr_db)]
        scores = [f"{model.top1:.2%}", f"{model.top5:.2%}", f"{model.calibration_error:.2%}"]
        speed = EMULATED if model.emulated else f"{model.images_per_second:.1f}"
        rows.append([f"{name} (random weights)" if model.random_weights else name, *scores, *compared, speed])
    heads = ("model", "top-1", "top-5", "cal. error", "agreement", "flips", "SQNR", "images/s")
    return table_of(heads, rows)


def describe_classes(found: Evaluation) -> Iterator[str | rich.table.Table]:
    """Yield the table of classes, those first that some model gets right least often; several models a column each."""
    scores = list(zip(*(model.per_class for model in found.models), strict=True))
    scores.sort(key=lambda row: (min(each.top1 for each in row), row[0].label))
    has_reference = found.models[0].reference is not None
    rows = []
    for row in scores:
        first = row[0]
        cells = [class_name(found.class_names, first.label), f"{first.images}", *(f"{each.top1:.1%}" for each in row)]
        cells += [f"{first.top5:.1%}"] if len(row) == 1 else []
        cells += [f"{first.reference_top1:.1%}"] if first.reference_top1 is not None else []
        cells += [f"{100 * (first.top1 - first.reference_top1):+.1f}"] if has_reference and len(row) == 1 else []
        rows.append(cells)
    rest = ["reference"] if has_reference else []
    if len(found.models) == 1:
        yield table_of(["class", "images", "top-1", "top-5", *rest, *(["change"] if rest else [])], rows)
        return
    yield ""
    yield "top-1 by class"
    heads = short_names([model.model for model in found.models])
    if sum(len(head) + 2 for head in [*heads, *rest]) > SPARE:
        letters = string.ascii_uppercase[: len(heads)] if len(heads) <= 26 else [f"#{i}" for i in range(len(heads))]
        yield from (f"{letter} = {head}" for letter, head in zip(letters, heads, strict=True))
        heads = list(letters)
    yield table_of(["class", "images", *heads, *rest], rows)


def describe_corrupt(result: Evaluation) -> Iterator[str]:
    """Yield the images that were not scored, the first few of them."""
    for corrupt in result.corrupt[:CORRUPT_SHOWN]:
        yield f"corrupt, not scored: {corrupt.name}: {corrupt.error}"
    if len(result.corrupt) > CORRUPT_SHOWN:
        yield f"and {len(result.corrupt) - CORRUPT_SHOWN} more corrupt images; ‹json› lists them all"
