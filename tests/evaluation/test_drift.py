"""Drift of the scores of normal images."""

import numpy as np
import pytest

from ede_keras.evaluation.drift import find_drift


def test_same_and_shifted_scores():
    random = np.random.default_rng(0)
    calibration, same = random.normal(2, 3, 60), random.normal(2, 3, 80)
    found = find_drift(calibration, same)
    assert not found.is_clear and str(found).startswith("none seen (80 normal images with 60 held")
    found = find_drift(calibration, same + 6)
    expected = np.median(same) + 6 - np.median(calibration)
    assert found.is_clear and found.shift == pytest.approx(expected / calibration.std())
    assert "deviations higher" in str(found) and "train again" in str(found)
    assert "deviations lower" in str(find_drift(calibration, same - 6))


def test_how_often_it_is_wrong():
    """Of sets without drift about 1 in 100 is called changed, and at most that."""
    random = np.random.default_rng(1)
    wrong = sum(find_drift(*random.normal(size=(2, 40))).is_clear for _ in range(1000))
    assert wrong <= 20


def test_wider_scores_with_the_same_median():
    random = np.random.default_rng(2)
    assert find_drift(random.normal(0, 1, 100), random.normal(0, 4, 100)).is_clear
    assert not find_drift(np.zeros(20), np.zeros(9)).is_clear
