"""Ranges from histograms: each method against a calculation from all values at once."""

import numpy as np
import pytest

from deepvit.calibration.grid import rounded, scale_of
from deepvit.calibration.observe.histogram import BINS, Histogram, Method
from deepvit.runtime.artifact.manifest import Grid
from deepvit.runtime.errors import InputError


def _histogram(values, parts=7):
    found = Histogram(float(values.min()), float(values.max()))
    for part in np.array_split(values, parts):
        found.add(part)
    return found


@pytest.fixture
def heavy():
    """A normal distribution with a few values far outside."""
    generator = np.random.default_rng(0)
    return np.concatenate([generator.normal(0, 1, 200_000), generator.normal(0, 30, 20)]).astype(np.float32)


def test_counts_do_not_depend_on_how_the_values_come(heavy):
    assert np.array_equal(_histogram(heavy, 1).counts, _histogram(heavy, 50).counts)
    assert _histogram(heavy).counts.sum() == len(heavy)
    assert _histogram(heavy).counts.nbytes == 8 * BINS


def test_max_is_the_true_range(heavy):
    low, high = _histogram(heavy).range_of(Method("max"), Grid.INT8)
    assert (low, high) == (heavy.min(), heavy.max())


@pytest.mark.parametrize("percentile", [99.9, 99.95, 99.99, 99.999])
def test_percentiles_are_those_of_the_magnitudes(heavy, percentile):
    found = _histogram(heavy)
    _, high = found.range_of(Method(f"percentile-{percentile}"), Grid.INT8)
    expected = np.percentile(np.abs(heavy), percentile)
    assert high == pytest.approx(min(expected, heavy.max()), abs=2 * found.amax / BINS * 2, rel=0.02)


@pytest.mark.parametrize("grid", list(Grid))
def test_mse_is_close_to_the_best_threshold_by_trial(heavy, grid):
    def error(low, high):
        return float(((rounded(heavy, scale_of(low, high, grid)) - heavy) ** 2).mean())

    found = _histogram(heavy)
    thresholds = np.geomspace(0.5, found.amax, 120)
    best = min(error(max(-t, found.low), min(t, found.high)) for t in thresholds)
    got = error(*found.range_of(Method("mse"), grid))
    assert got <= 1.1 * best
    if grid is not Grid.FP8:  # the relative grid hardly minds
        assert got < 0.8 * error(found.low, found.high)


def test_entropy_cuts_what_is_rare(heavy):
    _, high = _histogram(heavy).range_of(Method("entropy"), Grid.INT8)
    assert 2.5 < high < 30
    uniform = np.random.default_rng(1).uniform(-1, 1, 100_000).astype(np.float32)
    assert _histogram(uniform).range_of(Method("entropy"), Grid.INT8)[1] > 0.9


@pytest.mark.parametrize("method", ["max", "percentile-99.99", "entropy", "mse"])
@pytest.mark.parametrize(
    "values", [np.zeros(100), np.full(100, 3.0), np.array([-2.0, 0.0])], ids=["zero", "one", "two"]
)
def test_degenerate_tensors_have_a_range(method, values):
    found = _histogram(values.astype(np.float32))
    for grid in Grid:
        low, high = found.range_of(Method(method), grid)
        assert found.low <= low <= high <= found.high


@pytest.mark.parametrize(
    "name", ["minmax", "percentile-99", "percentile-100", "percentile-", "percentile-99.9999999", ""]
)
def test_other_methods_are_refused(name):
    with pytest.raises(InputError, match="expected max, entropy, mse"):
        Method(name)
