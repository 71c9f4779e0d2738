"""What is kept of logits, image by image, and what is summed up from it, at the edges."""

import numpy as np
import pytest

from deepvit.measure.evaluate.scores import Scores, calibration_error, image_records

LOGITS = np.array(
    [[0, 1, 1, -1, 5, 2], [3, 3, 3, 3, 3, 3], [0, np.nan, 0, 0, 9, 0], [np.inf, 0, 0, 0, 0, 0]], np.float32
)


def _scores(logits, labels, reference=None):
    logits = np.asarray(logits, np.float32)
    return Scores(image_records(logits, reference), np.array(labels), logits.shape[1])


def test_equal_logits_are_ranked_by_number_and_not_finite_ones_not_at_all():
    records = image_records(LOGITS, None)
    assert records["top5"].tolist() == [[4, 5, 1, 2, 0], [0, 1, 2, 3, 4], [-1] * 5, [-1] * 5]
    assert records["confidence"][1] == pytest.approx(1 / 6)
    assert records["confidence"][2:].tolist() == [0, 0]


def test_fewer_classes_than_five():
    assert image_records(np.array([[0, 2, 1]], np.float32), None)["top5"].tolist() == [[1, 2, 0, -1, -1]]
    scores = _scores([[0, 2, 1]], [0])
    assert (scores.top1(), scores.top5()) == (0, 1)


def test_images_that_are_not_finite_on_either_side_have_no_distance():
    reference = np.ones((4, 6), np.float32)
    reference[1, 0] = np.nan
    records = image_records(LOGITS, reference)
    assert records["max_abs"].tolist() == [4, 0, 0, 0]
    assert records["signal"].tolist() == [6, 0, 0, 0]
    assert records["noise"].tolist() == [1 + 4 + 16 + 1, 0, 0, 0]


def test_what_is_not_finite_is_wrong_and_counted():
    scores = _scores(LOGITS, [4, 0, 4, 0])
    assert (scores.images, scores.non_finite, scores.top1(), scores.top5()) == (4, 2, 0.5, 0.5)


def test_classes_without_images_have_no_row():
    rows = _scores(np.eye(6), [0, 1, 1, 3, 3, 3]).by_class(None)
    assert [(row.label, row.images) for row in rows] == [(0, 1), (1, 2), (3, 3)]
    assert [row.top1 for row in rows] == pytest.approx([1, 1 / 2, 1 / 3])


def test_every_image_is_in_one_bin():
    scores = _scores(LOGITS, [4, 0, 4, 0])
    bins = scores.reliability()
    assert sum(each.images for each in bins) == 4
    assert bins[0].images == 2  # confidence 0
    assert [each.low for each in bins][:2] == [0, pytest.approx(1 / 15)]
    empty = [each for each in bins if not each.images]
    assert all(each.top1 is None and each.confidence is None for each in empty)
    assert 0 <= calibration_error(bins) <= 1


def test_real_labels_that_are_empty_do_not_count():
    scores = _scores(np.eye(6)[:3], [0, 0, 0])
    assert scores.real_top1([[0, 5], [], [0]]) == 0.5
    assert scores.real_top1([[], [], []]) is None


def test_all_agree():
    logits = np.eye(6, dtype=np.float32)
    reference = _scores(logits, range(6))
    agreement = _scores(logits, range(6), logits).agreement_with(reference, "r")
    assert (agreement.agreement, agreement.agreement_interval.high, agreement.sqnr_db) == (1, 1, None)
    assert (agreement.drop_fraction, agreement.mcnemar_p, agreement.lost, agreement.gained) == (0, 1, 0, 0)
