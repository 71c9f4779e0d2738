"""Results in words, for a terminal."""

from collections.abc import Iterator

import rich.table

from runtime.artifact import Manifest
from runtime.evaluate import Evaluation

CORRUPT_SHOWN = 10


def describe_export(manifest: Manifest) -> Iterator[str | rich.table.Table]:
    """Yield the parity ladder, the folds with their conditioning, and the largest activation."""
    table = rich.table.Table(box=None, pad_edge=False)
    for column in ("stage", "against", "max abs", "SQNR", "top-1 agreement", "images"):
        table.add_column(column)
    for stage in manifest.parity:
        sqnr = "exact" if stage.sqnr_db is None else f"{stage.sqnr_db:.1f} dB"
        agreement = f"{stage.top1_agreement:.2%}"
        table.add_row(stage.stage, stage.against, f"{stage.max_abs:.2e}", sqnr, agreement, f"{stage.images}")
    yield table
    for record in manifest.folds:
        if record.applied:
            bias = f", largest bias {record.max_abs_bias:.3g}" if record.max_abs_bias else ""
            weight = f"largest weight {record.max_abs_weight:.3g}"
            yield f"folded {record.name} in {record.applied} modules: {weight}{bias}"
    if manifest.largest_activation:
        name, value = max(manifest.largest_activation.items(), key=lambda item: item[1])
        yield f"largest activation: {value:.4g} in {name} (FP16 ends at 65504)"


def describe_evaluation(result: Evaluation) -> Iterator[str]:
    """Yield the scores, line by line."""
    note = " (random weights)" if result.random_weights else ""
    low, high = result.top1_interval.low, result.top1_interval.high
    yield f"model         {result.model}{note}, {result.runs_on}"
    yield f"evaluated     {result.evaluated} of {result.listed} images listed, {len(result.corrupt)} corrupt"
    yield f"top-1         {result.top1:.2f}%{note}  (95% interval {low:.2f} to {high:.2f})"
    yield f"top-5         {result.top5:.2f}%{note}"
    if result.published_top1 is not None:
        yield f"published     {result.published_top1:.2f}% on ImageNet-1k"
    if result.reference is not None:
        ref = result.reference
        sqnr = "exact" if ref.sqnr_db is None else f"SQNR {ref.sqnr_db:.1f} dB"
        yield (
            f"reference     {ref.reference}: top-1 {ref.top1:.2f}%, agreement {ref.agreement:.2f}%{note} "
            f"(95% interval {ref.interval.low:.2f} to {ref.interval.high:.2f}), {sqnr}, max abs {ref.max_abs:.2e}"
        )
    yield (
        f"speed         {result.images_per_second:.1f} images/s with decoding, "
        f"{result.model_images_per_second:.1f} the model alone"
    )


def describe_corrupt(result: Evaluation) -> Iterator[str]:
    """Yield the images that were not scored, the first few of them."""
    for corrupt in result.corrupt[:CORRUPT_SHOWN]:
        yield f"corrupt, not scored: {corrupt.name}: {corrupt.error}"
    if len(result.corrupt) > CORRUPT_SHOWN:
        yield f"and {len(result.corrupt) - CORRUPT_SHOWN} more corrupt images; --json lists them all"
