"""Calibration errors and Brier scores: by hand, and with outcomes drawn from the probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from runners.evaluation.calibration import error_if_calibrated, expected_calibration_error, of_classes, of_sets


def test_classes_by_hand():
    """Confidences .9, .8 (right) and .6 (wrong), a bin each: (.1 + .2 + .6) / 3."""
    probability = np.array([[0.9, 0.1, 0.0], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]], np.float32)
    labels = np.eye(3, dtype=bool)[[0, 1, 1]]
    found = of_classes(probability, labels)
    assert found.ece == pytest.approx((0.1 + 0.2 + 0.6) / 3)
    assert found.brier == pytest.approx((0.01 + 0.01 + 0.01 + 0.04 + 0.01 + 0.36 + 0.49 + 0.01) / 3)


def test_sets_by_hand():
    """Four labels, a bin each; Brier is a mean over labels and images."""
    found = of_sets(np.array([[0.9, 0.2], [0.4, 0.7]]), np.array([[True, False], [True, False]]))
    assert found.ece == pytest.approx((0.1 + 0.2 + 0.6 + 0.7) / 4)
    assert found.brier == pytest.approx((0.01 + 0.04 + 0.36 + 0.49) / 4)


def test_bins_hold_equally_many_events():
    """Two bins of two: {.8, .9} with no event and {.96, .98} with both: (1.7 + .06) / 4. Of equally wide ones, all four
    would be in the last: 1.64 / 4."""
    probability, happened = np.array([0.98, 0.8, 0.96, 0.9]), np.array([True, False, True, False])
    assert expected_calibration_error(probability, happened, bins=2) == pytest.approx(1.76 / 4)
    assert expected_calibration_error(probability, happened, bins=1) == pytest.approx(1.64 / 4)


def test_equal_probabilities_share_a_bin_whatever_their_order():
    """.8 for ten events of which eight happen is no error, in any order."""
    happened = np.arange(10) < 8
    rng = np.random.default_rng(0)
    errors = {expected_calibration_error(np.full(10, 0.8), rng.permutation(happened)) for _ in range(20)}
    assert max(errors) == pytest.approx(0, abs=1e-12)


def test_a_good_evaluator_has_the_error_that_chance_gives():
    """Probabilities that are true: the error on 200 images is what is expected of them, and far from 0."""
    rng = np.random.default_rng(1)
    probability = rng.beta(4, 1, 200)
    errors = [expected_calibration_error(probability, rng.random(200) < probability) for _ in range(300)]
    assert error_if_calibrated(probability) == pytest.approx(np.mean(errors), rel=0.1)
    assert np.mean(errors) > 0.03


def test_an_overconfident_evaluator_is_found():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.7, 1, 2000)
    probability = np.stack([confidence, 1 - confidence], 1)
    right = rng.random(2000) < confidence - 0.15
    found = of_classes(probability, np.stack([right, ~right], 1))
    assert found.ece == pytest.approx(0.15, abs=0.03)
    assert found.ece_if_calibrated < 0.03


def test_no_images_no_number():
    found = of_classes(np.empty((0, 3)), np.empty((0, 3), bool))
    assert np.isnan([found.ece, found.ece_if_calibrated, found.brier]).all()
    assert np.isnan(of_sets(np.empty((0, 3)), np.empty((0, 3), bool)).ece)
