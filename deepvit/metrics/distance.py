"""How far logits are from those that they are held against."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from deepvit.runtime.artifact.manifest import ParityStage

from .paired import proportion_interval

Float = npt.NDArray[Any]  # of some floating type
Float64 = npt.NDArray[np.float64]
NO_SIGNAL_DB = -999.0


def sqnr_db(signal: float, noise: float) -> float | None:
    """Return 10·log₁₀(Σ signal² / Σ noise²) of the two sums of squares; None where there is no noise.

    Without a signal it is a number that no signal gives, since JSON has no infinity.
    """
    if noise == 0:
        return None
    return 10 * math.log10(signal / noise) if signal > 0 else NO_SIGNAL_DB


def squares(got: Float, expected: Float, axis: int | None = None) -> tuple[Float64, Float64]:
    """Return Σ expected² and Σ (got − expected)², signal and noise, summed over `axis`, or over all where None."""
    wide = expected.astype(np.float64)
    return np.asarray((wide**2).sum(axis=axis)), np.asarray(((got.astype(np.float64) - wide) ** 2).sum(axis=axis))


def sqnr_of(got: Float, expected: Float) -> float | None:
    """Return the SQNR of `got` against `expected`, of the same shape; see `sqnr_db`."""
    signal, noise = squares(got, expected)
    return sqnr_db(float(signal), float(noise))


def db_text(value: float | None) -> str:
    """Return an SQNR in words."""
    return "exact" if value is None else f"{value:.1f} dB"


def compare_logits(stage: str, against: str, got: Float, expected: Float, *, top1_enforced: bool = True) -> ParityStage:
    """Measure logits `got` (N, classes) against `expected` (N, classes)."""
    agree = int((got.argmax(1) == expected.argmax(1)).sum())
    return ParityStage(
        stage=stage,
        against=against,
        max_abs=float(np.abs(got.astype(np.float64) - expected).max()),
        sqnr_db=sqnr_of(got, expected),
        top1_agreement=agree / len(got),
        top1_interval=proportion_interval(agree, len(got)),
        images=len(got),
        top1_enforced=top1_enforced,
    )
