"""Paired statistics against published figures."""

import numpy as np
import pytest

from deepvit.metrics.paired import PairedCounts, count_pairs, drop_fraction_interval, mcnemar_p, proportion_interval


def test_wilson_interval_of_a_textbook_case():
    interval = proportion_interval(81, 263)  # Newcombe 1998, table I: 0.2553 to 0.3662
    assert interval.low == pytest.approx(0.2553, abs=1e-4)
    assert interval.high == pytest.approx(0.3662, abs=1e-4)


def test_drop_interval_of_newcombes_example():
    counts = PairedCounts(50, 36, both=36, lost=12, gained=2)  # Newcombe 1998, paired data, method 10
    interval = drop_fraction_interval(counts)
    assert interval.low == pytest.approx(0.0569, abs=1e-4)
    assert interval.high == pytest.approx(0.3404, abs=1e-4)
    assert counts.drop_points == 20.0


def test_an_interval_without_flips_still_has_a_width():
    interval = drop_fraction_interval(PairedCounts(596, 596, both=589, lost=0, gained=0))
    assert interval.low < -0.001
    assert interval.high > 0.001


def test_mcnemars_exact_p():
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(5, 5) == 1.0
    assert mcnemar_p(6, 0) == pytest.approx(2 / 64)
    assert mcnemar_p(12, 2) == mcnemar_p(2, 12) == pytest.approx(2 * (1 + 14 + 91) / 2**14)


def test_counts_of_logits():
    def one_hot(classes):
        return np.eye(4, dtype=np.float32)[classes]

    labels = np.array([0, 1, 2, 3, 0])
    reference, got = one_hot([0, 1, 2, 0, 1]), one_hot([0, 1, 0, 3, 2])
    counts = count_pairs(got, reference, labels)
    assert counts == PairedCounts(5, 2, both=2, lost=1, gained=1)
    assert counts + counts == PairedCounts(10, 4, both=4, lost=2, gained=2)
    assert counts.agreement_percent == 40.0
    assert count_pairs(got, reference, None) == PairedCounts(5, 2)
    assert count_pairs(got, reference, None).drop_points is None


def test_an_interval_ends_exactly_where_all_or_none_succeed():
    for trials in (*range(1, 700), 10_000, 50_000):
        assert proportion_interval(trials, trials).high == 1
        assert proportion_interval(0, trials).low == 0
