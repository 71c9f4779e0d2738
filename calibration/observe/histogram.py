"""Histograms of a tensor's values, in constant memory, and the ranges that each calibration method takes from them."""

import dataclasses
import re

import numpy as np
import numpy.typing as npt

from deepvit.runtime.artifact.manifest import Grid
from deepvit.runtime.errors import InputError

from ..grid import E4M3_MAX

BINS = 1 << 14  # over [−amax, amax]: fine enough where one outlier is a hundred times the rest
ENTROPY_BINS = 2048  # of |x|, as NVIDIA's calibrator has them
ENTROPY_LEVELS = 128
CANDIDATES = 160  # thresholds that mse tries
SMALLEST_SHARE = 1 / 512  # of the largest value, where mse begins
QUANTILES = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
E4M3_RELATIVE = 2.0**-4  # half a unit of three mantissa bits
E4M3_SMALLEST = 2.0**-9  # the smallest step: of the subnormals


@dataclasses.dataclass(frozen=True)
class Method:
    """How a range is chosen: max, percentile-P (99.9 to 99.999), entropy or mse."""

    name: str

    def __post_init__(self) -> None:
        if self.name in ("max", "entropy", "mse"):
            return
        match = re.fullmatch(r"percentile-(\d{2}(?:\.\d{1,6})?)", self.name)
        if match is None or not 99.9 <= float(match[1]) <= 99.999:
            raise InputError(
                f"calibration method {self.name!r}: expected max, entropy, mse, or percentile-99.9 to percentile-99.999"
            )

    @property
    def percentile(self) -> float | None:
        return float(self.name.removeprefix("percentile-")) if self.name.startswith("percentile-") else None


class Histogram:
    """Counts of one tensor's values in equal bins over [−amax, amax], where amax is known from a pass before.

    Args:
        low: The least value.
        high: The largest value.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.amax = max(-low, high, 1e-12)
        self.counts = np.zeros(BINS, np.int64)

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count `values`, of any shape; what rounding puts outside falls into the outermost bins."""
        position = values.reshape(-1) * np.float32(BINS / 2 / self.amax)
        position += np.float32(BINS / 2)
        np.clip(position, 0, BINS - 1, out=position)
        self.counts += np.bincount(position.astype(np.int32), minlength=BINS)

    @property
    def _magnitudes(self) -> npt.NDArray[np.int64]:
        """Counts of |x| in BINS / 2 bins over [0, amax]."""
        half = BINS // 2
        return self.counts[half:] + self.counts[:half][::-1]

    def quantiles(self) -> dict[str, float]:
        """Return percentiles of |x|, a summary for the reader."""
        return {f"{q:g}": self._threshold_of(q) for q in QUANTILES}

    def _threshold_of(self, percentile: float) -> float:
        cumulated = np.cumsum(self._magnitudes)
        index = int(np.searchsorted(cumulated, percentile / 100 * cumulated[-1]))
        return float(self.amax * min(index + 1, BINS // 2) / (BINS // 2))

    def range_of(self, method: Method, grid: Grid) -> tuple[float, float]:
        """Return (low, high) that `method` lets the grid cover; what lies outside saturates."""
        if method.name == "max":
            return self.low, self.high
        if method.percentile is not None:
            threshold = self._threshold_of(method.percentile)
        elif method.name == "entropy":
            threshold = self._entropy_threshold()
        else:
            threshold = self._mse_threshold(grid)
        return max(self.low, -threshold), min(self.high, threshold)

    def _mse_threshold(self, grid: Grid) -> float:
        """Return the threshold of least squared error: saturation outside it, rounding inside it."""
        magnitudes = self._magnitudes.astype(np.float64)
        centres = (np.arange(BINS // 2, dtype=np.float64) + 0.5) * (self.amax / (BINS // 2))
        thresholds: list[float] = (self.amax * np.geomspace(SMALLEST_SHARE, 1, CANDIDATES)).tolist()
        errors = []
        for threshold in thresholds:
            outside = np.maximum(centres - threshold, 0)
            errors.append(float((magnitudes * (outside**2 + self._rounding(centres, threshold, grid))).sum()))
        return thresholds[int(np.argmin(errors))]

    def _rounding(self, centres: npt.NDArray[np.float64], threshold: float, grid: Grid) -> npt.NDArray[np.float64]:
        """Return the mean squared rounding error at each of `centres`: step²/12 of the step there."""
        if grid is Grid.FP8:
            step = threshold / E4M3_MAX
            # A step of E4M3 is 2⁻³ of the power of two below the value, and never below that of the subnormals.
            exponent = np.floor(np.log2(np.maximum(np.minimum(centres, threshold) / step, E4M3_SMALLEST)))
            return (np.maximum(2.0**exponent * 2 * E4M3_RELATIVE, E4M3_SMALLEST) * step) ** 2 / 12
        low, high = max(self.low, -threshold), min(self.high, threshold)
        width = high - low if grid is Grid.UINT8 else 2 * threshold
        return np.full_like(centres, (width / (255 if grid is Grid.UINT8 else 254)) ** 2 / 12)

    def _entropy_threshold(self) -> float:
        """Return the threshold at which the distribution, cut there and coarsened to 128 levels, loses least.

        Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017: the least Kullback-Leibler divergence of the
        coarsened distribution from the one whose tail is gathered in its last bin.
        """
        counts = self._magnitudes.reshape(ENTROPY_BINS, -1).sum(axis=1).astype(np.float64)
        best, threshold = np.inf, self.amax
        for bins in range(ENTROPY_LEVELS, ENTROPY_BINS + 1, 8):
            divergence = _divergence(counts, bins)
            if divergence < best:
                best, threshold = divergence, self.amax * bins / ENTROPY_BINS
        return threshold


def _divergence(counts: npt.NDArray[np.float64], bins: int) -> float:
    """Return KL(reference ‖ coarsened) for the first `bins` of `counts`."""
    reference = counts[:bins].copy()
    coarse_of = np.arange(bins) * ENTROPY_LEVELS // bins
    filled = reference > 0
    total = np.bincount(coarse_of, weights=reference, minlength=ENTROPY_LEVELS)
    occupied = np.bincount(coarse_of, weights=filled, minlength=ENTROPY_LEVELS)
    coarsened = np.where(filled, (total / np.maximum(occupied, 1))[coarse_of], 0.0)
    reference[-1] += counts[bins:].sum()
    if not coarsened.any():
        return float("inf")
    p, q = reference / reference.sum(), coarsened / coarsened.sum()
    # Where the tail fell into an empty bin, q is 0: a tiny share stands for it, as in NVIDIA's smoothing.
    q = np.where((p > 0) & (q == 0), 1e-9, q)
    support = p > 0
    return float((p[support] * np.log(p[support] / q[support])).sum())
