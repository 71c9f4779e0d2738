"""Whether a measured model may stand for its reference: bounds by precision, and the same preprocessing."""

from collections.abc import Iterator

from deepvit.export.options import Precision
from deepvit.export.quantized.accuracy import DEFAULT_MAX_DROP
from deepvit.metrics.parity import PRECISION_BOUNDS, Bound

from ..opened import OpenedModel
from .result import Evaluation

# Of thousands of images the largest difference is that of the strangest one: SQNR judges, and ties may fall otherwise.
FLOAT32_BOUND = Bound(sqnr_db=80.0, top1_agreement=0.999)
FIELDS = ("resize", "crop", "interpolation", "mean", "std", "color")


def preprocessing_breaches(model: OpenedModel, reference: OpenedModel) -> Iterator[str]:
    """Yield where the preprocessing of a model differs from that of its own weights, which `reference` has too."""
    if model.layout_fault is not None:
        yield model.layout_fault
    if model.weights_sha256 is None or model.weights_sha256 != reference.weights_sha256:
        return
    for field in FIELDS:
        got, expected = getattr(model.preprocessing, field), getattr(reference.preprocessing, field)
        if got != expected:
            yield f"preprocessing {field} is {_shown(got)}, {reference.name} has {_shown(expected)}"


def _shown(value: object) -> str:
    return "/".join(f"{each:g}" for each in value) if isinstance(value, tuple) else str(value)


def bound_of(precision: str | None, reference: str | None, float32: Bound) -> Bound:
    """Return what a model must hold against a reference of another precision: the looser of both bounds.

    Args:
        precision: The model's; nothing is asked where nobody says.
        reference: The reference's, likewise.
        float32: The bound of two float32 models.
    """
    if precision is None or reference is None:
        return Bound()
    reduced = {Precision(each) for each in (precision, reference)} - {Precision.FP32}
    bounds = [PRECISION_BOUNDS[kind] for kind in reduced]
    return min(bounds, key=lambda bound: bound.sqnr_db or 0.0) if bounds else float32


def evaluation_breaches(result: Evaluation, precision: str | None, reference: str | None) -> Iterator[str]:
    """Yield what a result does not hold, by the precisions of both; accuracy is asked of trained weights alone."""
    if result.non_finite:
        yield f"the logits of {result.non_finite} images are not finite"
    found, bound = result.reference, bound_of(precision, reference, FLOAT32_BOUND)
    if found is None:
        return
    if bound.sqnr_db is not None and found.sqnr_db is not None and found.sqnr_db < bound.sqnr_db:
        yield f"SQNR {found.sqnr_db:.1f} dB, at least {bound.sqnr_db:g}"
    if result.random_weights:
        return
    if bound.top1_agreement is not None and found.agreement < 100 * bound.top1_agreement:
        yield f"agreement {found.agreement:.2f}%, at least {bound.top1_agreement:.1%}"
    if found.drop_interval.low > DEFAULT_MAX_DROP:
        yield f"drop {found.drop:.2f} points, surely more than {DEFAULT_MAX_DROP}"
