"""Every bound in one table, and the proof that a stage of the parity ladder holds its own."""

import dataclasses

from deepvit.runtime.artifact.manifest import ParityStage, Precision
from deepvit.runtime.errors import OutOfBoundsError

from .distance import Float, compare_logits
from .paired import images_to_show, proportion_interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound:
    """What a stage must hold. `top1_agreement` of a reduced precision is asked of trained weights only."""

    max_abs: float | None = None
    sqnr_db: float | None = None
    top1_agreement: float | None = None


FOLD_BOUND = Bound(max_abs=1e-9, top1_agreement=1.0)  # float64 rounding over 32 blocks leaves about 1e-14
FP32_BOUND = Bound(max_abs=1e-4, top1_agreement=1.0)  # two float32 implementations that sum in different order
FUSED_BOUND = Bound(max_abs=1e-5, top1_agreement=1.0)  # the same sums in the same order, on the same runtime
PRECISION_BOUNDS = {
    Precision.FP16: Bound(sqnr_db=40.0, top1_agreement=0.999),  # 11 significant bits
    Precision.BF16: Bound(sqnr_db=22.0, top1_agreement=0.98),  # 8 significant bits: three fewer, some 18 dB
    # Eight bits depend on the weights: this catches what is broken, accuracy is checked on held-out images.
    Precision.INT8: Bound(sqnr_db=10.0),
    Precision.FP8: Bound(sqnr_db=10.0),
}

# An engine against the graph it was built from: of eight-bit graphs it rounds the same numbers in the same places, and
# only ties fall otherwise.
ENGINE_BOUNDS = PRECISION_BOUNDS | {Precision.INT8: Bound(sqnr_db=20.0), Precision.FP8: Bound(sqnr_db=20.0)}

# Of thousands of images the largest difference is that of the strangest one: SQNR judges, and ties may fall otherwise.
FLOAT32_BOUND = Bound(sqnr_db=80.0, top1_agreement=0.999)
FP16_MAX = 65504.0  # the largest finite number of FP16
DEFAULT_MAX_DROP = 0.5  # points of top-1, of a trained model on labelled images, where no budget is given


def breaches(stage: ParityStage, bound: Bound) -> list[str]:
    """Return in words what of `bound` the stage does not hold; nothing where it holds."""
    faults = []
    if bound.max_abs is not None and not stage.max_abs <= bound.max_abs:
        faults.append(f"max abs {stage.max_abs:.3g}, at most {bound.max_abs:g}")
    if bound.sqnr_db is not None and stage.sqnr_db is not None and not stage.sqnr_db >= bound.sqnr_db:
        faults.append(f"SQNR {stage.sqnr_db:.1f} dB, at least {bound.sqnr_db:g}")
    if stage.top1_enforced and bound.top1_agreement is not None and not stage.top1_agreement >= bound.top1_agreement:
        faults.append(f"top-1 agreement {stage.top1_agreement:.2%}, at least {bound.top1_agreement:.1%}")
    return faults


def unshown(stage: ParityStage, bound: Bound) -> str:
    """Return in words that a stage holds a bound of agreement that so few images cannot show; nothing where they do."""
    interval, least = stage.top1_interval, bound.top1_agreement
    if interval is None or least is None or not stage.top1_enforced or interval.low >= least:
        return ""
    needed = None
    if stage.top1_agreement > least:
        rate = stage.top1_agreement
        needed = images_to_show(lambda images: proportion_interval(rate * images, images).low >= least, stage.images)
    more = f"‹parity_images› {needed} of ‹imagenet›" if needed is not None else "no number"
    bound_of_it = f"its bound of {least:.1%} agreement"
    return f"{stage.stage}: {stage.images} images cannot show {bound_of_it}; {more} would, at this rate"


def require(stage: ParityStage, bound: Bound) -> ParityStage:
    """Return `stage` when it holds its bound.

    Raises:
        OutOfBoundsError: The stage does not hold its bound; with every figure that is outside.
    """
    if faults := breaches(stage, bound):
        raise OutOfBoundsError(
            f"parity of {stage.stage} against {stage.against} on {stage.images} images: {'; '.join(faults)}; "
            "no artifact was written"
        )
    return stage


def prove(
    stage: str, against: str, got: Float, expected: Float, bound: Bound, *, top1_enforced: bool = True
) -> ParityStage:
    """Return the rung of the parity ladder on which `stage` stands, when it holds its bound.

    Args:
        stage: What gave `got`.
        against: Its neighbour on the ladder, which gave `expected`.
        got: Logits (N, classes).
        expected: Logits (N, classes).
        bound: How close they must be.
        top1_enforced: False with random weights, whose top-1 is decided by rounding.

    Raises:
        OutOfBoundsError: The logits are further apart than the bound.
    """
    return require(compare_logits(stage, against, got, expected, top1_enforced=top1_enforced), bound)


def bound_of(precision: Precision | None, reference: Precision | None, float32: Bound) -> Bound:
    """Return what a model must hold against a reference of another precision: the looser of both bounds.

    Args:
        precision: The model's; nothing is asked where nobody says.
        reference: The reference's, likewise.
        float32: The bound of two float32 models.
    """
    if precision is None or reference is None:
        return Bound()
    reduced = {precision, reference} - {Precision.FP32}
    bounds = [PRECISION_BOUNDS[kind] for kind in reduced]
    return min(bounds, key=lambda bound: bound.sqnr_db or 0.0) if bounds else float32
