"""Distances of logits, worked out by hand."""

import math

import numpy as np

from deepvit.metrics.distance import NO_SIGNAL_DB, compare_logits, db_text, sqnr_db, sqnr_of, squares


def test_sqnr_of_sums_of_squares():
    assert sqnr_db(1000.0, 1.0) == 30
    assert sqnr_db(1.0, 1000.0) == -30
    assert sqnr_db(5.0, 0.0) is None
    assert sqnr_db(0.0, 1.0) == NO_SIGNAL_DB
    assert [db_text(value) for value in (None, 41.26)] == ["exact", "41.3 dB"]


def test_signal_and_noise_are_summed_in_float64():
    expected = np.array([[3.0, 0.0], [0.0, 4.0]], np.float16)
    got = np.array([[3.0, 0.5], [4.5, 4.0]], np.float16)
    assert [float(total) for total in squares(got, expected)] == [25, 20.5]
    signal, noise = squares(got, expected, axis=1)
    assert (signal.tolist(), noise.tolist()) == ([9, 16], [0.25, 20.25])
    assert signal.dtype == noise.dtype == np.float64
    assert sqnr_of(got, expected) == 10 * math.log10(25 / 20.5)
    assert sqnr_of(expected, expected) is None


def test_logits_against_their_neighbours():
    expected = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)  # squares sum to 25
    got = np.array([[3.0, 0.5], [4.5, 4.0]], np.float32)  # of the difference: 20.5
    stage = compare_logits("onnx", "pytorch", got, expected, top1_enforced=False)
    assert (stage.max_abs, stage.top1_agreement, stage.images, stage.top1_enforced) == (4.5, 0.5, 2, False)
    assert stage.sqnr_db == 10 * math.log10(25 / 20.5)
    assert compare_logits("onnx", "pytorch", expected, expected).sqnr_db is None


def test_half_precision_is_subtracted_in_float64():
    expected = np.array([[60000.0, 0.0]], np.float16)
    assert compare_logits("a", "b", -expected, expected).max_abs == 120000  # infinite in float16
