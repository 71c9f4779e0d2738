"""How far logits are from those that they are held against."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from deepvit.runtime.manifest import ParityStage

Float = npt.NDArray[Any]  # of some floating type
NO_SIGNAL_DB = -999.0


def sqnr_db(signal: float, noise: float) -> float | None:
    """Return 10·log₁₀(Σ signal² / Σ noise²) of the two sums of squares; None where there is no noise.

    Without a signal it is a number that no signal gives, since JSON has no infinity.
    """
    if noise == 0:
        return None
    return 10 * math.log10(signal / noise) if signal > 0 else NO_SIGNAL_DB


def db_text(value: float | None) -> str:
    """Return an SQNR in words."""
    return "exact" if value is None else f"{value:.1f} dB"


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
