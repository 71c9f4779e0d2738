"""Whether a measured model may stand for its reference: bounds by precision, and the same preprocessing."""

from collections.abc import Iterator

from deepvit.metrics.bounds import DEFAULT_MAX_DROP, FLOAT32_BOUND, bound_of
from deepvit.runtime.artifact.manifest import Precision

from .result import EvaluatedModel


def evaluation_breaches(
    result: EvaluatedModel, precision: Precision | None, reference: Precision | None
) -> Iterator[str]:
    """Yield what a result does not hold, by the precisions of both; accuracy is asked of trained weights alone."""
    if result.non_finite:
        yield f"the logits of {result.non_finite} images are not finite"
    agreement, bound = result.reference, bound_of(precision, reference, FLOAT32_BOUND)
    if agreement is None:
        return
    if bound.sqnr_db is not None and agreement.sqnr_db is not None and agreement.sqnr_db < bound.sqnr_db:
        yield f"SQNR {agreement.sqnr_db:.1f} dB, at least {bound.sqnr_db:g}"
    if result.random_weights:
        return
    if bound.top1_agreement is not None and agreement.agreement < bound.top1_agreement:
        yield f"agreement {agreement.agreement:.2%}, at least {bound.top1_agreement:.1%}"
    if 100 * agreement.drop_fraction_interval.low > DEFAULT_MAX_DROP:
        yield f"drop {100 * agreement.drop_fraction:.2f} points, surely more than {DEFAULT_MAX_DROP}"
