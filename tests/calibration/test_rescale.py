"""Activations rescaled and shifted into weights: where a channel dwarfs the others or leans to a side, nowhere else."""

import numpy as np
import pytest

from deepvit.calibration.grid import Grid
from deepvit.calibration.observe.rescale import choose_migration, level_heads, level_pairs

CHANNELS, OUTLIER = 16, 3


def migration(*, outlier, grid, offset=0.0):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((64, CHANNELS), np.float32)
    rows[:, OUTLIER] *= outlier
    rows[:, OUTLIER] += offset
    weight = rng.standard_normal((CHANNELS, 8), np.float32)
    low, high = rows.min(axis=0), rows.max(axis=0)
    shifts = (low + high).astype(np.float64) / 2 if offset else np.zeros(CHANNELS)
    return choose_migration(rows, low, high, weight, grid, shifts)


@pytest.mark.parametrize("grid", [Grid.INT8, Grid.UINT8])
def test_an_outlier_moves_into_the_weights(grid):
    exponents = migration(outlier=100, grid=grid).exponents
    assert exponents.argmax() == OUTLIER
    assert exponents[OUTLIER] >= 2
    assert abs(np.delete(exponents, OUTLIER)).max() <= 1


@pytest.mark.parametrize("grid", list(Grid))
def test_a_channel_that_leans_is_shifted(grid):
    chosen = migration(outlier=1, grid=grid, offset=40)
    assert chosen.shifts[OUTLIER] == pytest.approx(40, abs=2)
    rows = np.full((1, CHANNELS), 40, np.float32)
    assert abs(chosen.of(rows)[0, OUTLIER]) <= 2


def test_even_channels_stay():
    assert migration(outlier=1, grid=Grid.INT8) is None


def test_heads_and_pairs_are_levelled():
    assert level_heads(np.array([1, 4, 16], np.float32)).tolist() == [-2, 0, 2]
    assert level_pairs(np.array([64, 1], np.float32), np.array([1, 64], np.float32)).tolist() == [3, -3]
