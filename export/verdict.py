"""Whether a measured model may stand for its reference: bounds by precision, and the same preprocessing."""

from collections.abc import Iterator

from export.accuracy_check import DEFAULT_MAX_DROP
from export.open_model import OpenedModel
from export.options import Precision
from export.parity import PRECISION_BOUNDS, Bound
from runtime.evaluation_result import Evaluation

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


def bound_of(precision: str | None) -> Bound:
    """Return what a model of a precision must hold against its float32 reference."""
    if precision is None:
        return Bound()
    kind = Precision(precision)
    return FLOAT32_BOUND if kind is Precision.FP32 else PRECISION_BOUNDS[kind]


def evaluation_breaches(result: Evaluation, precision: str | None) -> Iterator[str]:
    """Yield what a result does not hold; agreement and accuracy are asked of trained weights alone."""
    if result.non_finite:
        yield f"the logits of {result.non_finite} images are not finite"
    found, bound = result.reference, bound_of(precision)
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
