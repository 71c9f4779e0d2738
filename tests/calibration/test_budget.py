"""The bisection for the fewest linears to keep."""

import pytest

from deepvit.calibration.budget.budget import Budget, BudgetKind, fewest_kept
from deepvit.metrics.paired import PairedCounts
from deepvit.runtime.errors import InputError

UNITS = [f"blocks.{i}.mlp.fc2" for i in range(32)]
AGREE = Budget(BudgetKind.MIN_AGREEMENT, 99.5)


def _model(costs, labelled=True):
    """Counts of a model where each quantised unit flips `costs[unit]` of 1,000 images; and what was asked."""
    asked = []

    def measure(quantized):
        asked.append(quantized)
        flips = min(sum(costs.get(unit, 0) for unit in quantized), 1000)
        return PairedCounts(1000, 1000 - flips, *((1000 - flips, flips, 0) if labelled else ()))

    return measure, asked


def test_nothing_is_kept_where_nothing_has_to_be():
    measure, asked = _model({UNITS[0]: 5})
    kept = fewest_kept(UNITS, AGREE, measure)
    assert (kept.units, kept.is_met) == ((), True)
    assert len(asked) == 1


@pytest.mark.parametrize("needed", range(1, 31))
def test_the_fewest_are_kept(needed):
    costs = dict.fromkeys(UNITS[:needed], 6)
    measure, asked = _model(costs)
    kept = fewest_kept(UNITS, AGREE, measure)
    assert kept.units == tuple(UNITS[:needed])
    assert kept.is_met
    assert kept.counts.agreement_percent >= 99.5
    assert len(asked) <= 8


def test_a_drop_is_counted_in_points_and_needs_labels():
    costs = {UNITS[0]: 40, UNITS[1]: 3}
    budget = Budget(BudgetKind.MAX_DROP, 0.3)
    kept = fewest_kept(UNITS, budget, _model(costs)[0])
    assert kept.units == (UNITS[0],)
    assert kept.counts.drop_points == pytest.approx(0.3)
    with pytest.raises(InputError, match="needs labelled images; give ‹min_agreement›"):
        fewest_kept(UNITS, budget, _model(costs, labelled=False)[0])
    assert fewest_kept(UNITS, AGREE, _model(costs, labelled=False)[0]).is_met


def test_a_budget_that_nothing_meets_says_so():
    kept = fewest_kept(UNITS, AGREE, _model(dict.fromkeys(UNITS, 6))[0])
    assert not kept.is_met
    assert len(kept.units) == 31  # one linear at least is quantised


def test_a_second_search_does_not_keep_fewer():
    measure, asked = _model({UNITS[0]: 6})
    assert fewest_kept(UNITS, AGREE, measure, at_least=3).units == tuple(UNITS[:3])
    assert all(len(quantized) <= 29 for quantized in asked)


@pytest.mark.parametrize("limit", [-1, 101, float("nan"), float("inf")])
def test_limits_check_themselves(limit):
    with pytest.raises(InputError, match="expected 0 to 100"):
        Budget(BudgetKind.MAX_DROP, limit)
