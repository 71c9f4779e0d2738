"""The parity ladder: every stage of an export against its neighbour, on images, within a bound."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from deepvit.export.options import Precision
from deepvit.measure.evaluate.scores import sqnr_db
from deepvit.runtime.errors import OutOfBoundsError
from deepvit.runtime.manifest import ParityStage

Float = npt.NDArray[Any]  # of some floating type
# On 2 cores a 384-pixel image costs about six times a 224-pixel one, so that there are fewer of them.
LARGE_IMAGE = 256


def default_images(img_size: int) -> int:
    """Return how many images prove an export when nobody says."""
    return 8 if img_size <= LARGE_IMAGE else 2


def float64_images(img_size: int) -> int:
    """Return how many images prove the folds: they are algebra, few images show it, and float64 is slow."""
    return 2 if img_size <= LARGE_IMAGE else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound:
    """What a stage must hold. `top1_agreement` of a reduced precision is asked of trained weights only."""

    max_abs: float | None = None
    sqnr_db: float | None = None
    top1_agreement: float | None = None


FOLD_BOUND = Bound(max_abs=1e-9, top1_agreement=1.0)  # float64 rounding over 32 blocks leaves about 1e-14
FP32_BOUND = Bound(max_abs=1e-4, top1_agreement=1.0)  # two float32 implementations that sum in different order
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


def compare_logits(stage: str, against: str, got: Float, expected: Float, *, top1_enforced: bool = True) -> ParityStage:
    """Measure logits `got` (N, classes) against `expected` (N, classes)."""
    wide = expected.astype(np.float64)
    difference = got.astype(np.float64) - wide
    return ParityStage(
        stage=stage,
        against=against,
        max_abs=float(np.abs(difference).max()),
        sqnr_db=sqnr_db(float((wide**2).sum()), float((difference**2).sum())),
        top1_agreement=float((got.argmax(1) == expected.argmax(1)).mean()),
        images=len(got),
        top1_enforced=top1_enforced,
    )


def breaches(stage: ParityStage, bound: Bound) -> list[str]:
    """Return in words what of `bound` the stage does not hold; nothing where it holds."""
    found = []
    if bound.max_abs is not None and not stage.max_abs <= bound.max_abs:
        found.append(f"max abs {stage.max_abs:.3g}, at most {bound.max_abs:g}")
    if bound.sqnr_db is not None and stage.sqnr_db is not None and not stage.sqnr_db >= bound.sqnr_db:
        found.append(f"SQNR {stage.sqnr_db:.1f} dB, at least {bound.sqnr_db:g}")
    if stage.top1_enforced and bound.top1_agreement is not None and not stage.top1_agreement >= bound.top1_agreement:
        found.append(f"top-1 agreement {stage.top1_agreement:.2%}, at least {bound.top1_agreement:.1%}")
    return found


def require(stage: ParityStage, bound: Bound) -> ParityStage:
    """Return `stage` when it holds its bound.

    Raises:
        OutOfBoundsError: It does not.
    """
    if found := breaches(stage, bound):
        raise OutOfBoundsError(
            f"parity of {stage.stage} against {stage.against} on {stage.images} images: {'; '.join(found)}; "
            "no artifact was written"
        )
    return stage
