"""The bisection for the fewest linears to keep."""

import pytest

from deepvit.calibration.budget.budget import Budget, BudgetKind, Evidence, fewest_kept
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


SURE = Evidence.INTERVAL
TRIED = 5000  # images, one by one


@pytest.mark.parametrize(
    ("counts", "drop", "reaches"),
    [  # by hand with Newcombe's method 10: 50 images without a flip, the default number, and all of ImageNet's
        (PairedCounts(50, 50, both=50, lost=0, gained=0), 0.0, 7.14),
        (PairedCounts(1000, 1000, both=810, lost=0, gained=0), 0.0, 0.31),
        (PairedCounts(1000, 980, both=802, lost=8, gained=6), 0.2, 1.0),
        (PairedCounts(50_000, 49_500, both=40_250, lost=230, gained=210), 0.04, 0.12),
    ],
)
def test_an_interval_reaches_further_than_what_was_measured(counts, drop, reaches):
    budget = Budget(BudgetKind.MAX_DROP, 0.3)
    assert budget.is_met(counts)
    assert counts.drop_points == pytest.approx(drop)
    assert budget.reached(counts) == pytest.approx(reaches, abs=0.006)
    assert budget.is_shown(counts) is (reaches <= 0.3)
    assert Budget(BudgetKind.MAX_DROP, 0.3, SURE).is_met(counts) is (reaches <= 0.3)


@pytest.mark.parametrize("limit", [0.3, 2.0])
@pytest.mark.parametrize(
    "counts",
    [
        PairedCounts(50, 50, both=50, lost=0, gained=0),
        PairedCounts(50, 50, both=40, lost=0, gained=0),
        PairedCounts(1000, 980, both=802, lost=8, gained=8),
        PairedCounts(1000, 990, both=802, lost=2, gained=1),
        PairedCounts(596, 594, both=588, lost=0, gained=1),
    ],
)
def test_the_images_needed_are_those_that_trying_one_by_one_finds(counts, limit):
    for budget in (Budget(BudgetKind.MAX_DROP, limit), Budget(BudgetKind.MIN_AGREEMENT, 100 - limit)):
        needed = budget.images_needed(counts)
        tried = next((n for n in range(counts.images, TRIED) if budget.is_shown(counts, n)), None)
        assert needed == tried or (tried is None and (needed is None or needed >= TRIED))
        if needed is not None:  # and it stays shown beyond
            assert all(budget.is_shown(counts, n) for n in range(needed, needed + 300))


def test_no_number_of_images_shows_what_was_not_measured():
    counts = PairedCounts(1000, 990, both=800, lost=3, gained=0)
    for limit in (0, 0.1, 0.3):
        assert Budget(BudgetKind.MAX_DROP, limit).images_needed(counts) is None
    assert Budget(BudgetKind.MIN_AGREEMENT, 99).images_needed(counts) is None
    assert Budget(BudgetKind.MIN_AGREEMENT, 100).images_needed(PairedCounts(10, 10)) is None
    assert Budget(BudgetKind.MAX_DROP, 0).images_needed(PairedCounts(10, 10, both=10, lost=0, gained=0)) is None


def test_the_search_keeps_what_the_interval_of_the_images_to_come_asks_for():
    """One flip in 1,000 is within 99.5%; 1,000 images show it, 500 do not, for which that unit is kept too."""
    sure = Budget(BudgetKind.MIN_AGREEMENT, 99.5, SURE)
    measure, _ = _model({UNITS[0]: 1})
    assert fewest_kept(UNITS, AGREE, measure).units == ()
    assert fewest_kept(UNITS, sure, measure, images=2000).units == ()
    assert fewest_kept(UNITS, sure, measure, images=1000).units == (UNITS[0],)
    assert not fewest_kept(UNITS, sure, measure, images=500).is_met
