"""The share of false alarms that a threshold promises."""

import numpy as np
import pytest

from ede_keras.evaluation.false_alarms import expect_false_alarms
from ede_keras.layers.anomaly_score import normal_quantile


def test_the_threshold_is_the_highest_score():
    # All n score below it with probability (1 - share)^n.
    found = expect_false_alarms(23, 0)
    assert found.expected == pytest.approx(1 / 24)
    assert found.low == pytest.approx(1 - 0.975 ** (1 / 23))
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 23))
    assert str(found).endswith("from 23 held out, between 0% and 15%")


@pytest.mark.parametrize(("n", "contamination"), [(5, 0.05), (32, 0.05), (40, 0.2)])
def test_simulated(n, contamination):
    """Uniform scores: the share above a threshold is 1 minus the threshold."""
    random = np.random.default_rng(0)
    shares = [1 - normal_quantile(random.random(n), contamination) for _ in range(4000)]
    found = expect_false_alarms(n, int(contamination * n + 1e-9))
    assert np.mean(shares) == pytest.approx(found.expected, abs=0.01)
    inside = np.mean([found.low <= share <= found.high for share in shares])
    assert inside == pytest.approx(0.95, abs=0.015)


def test_more_images_say_more():
    few, many = (expect_false_alarms(n, n // 20) for n in (20, 200))
    assert many.high - many.low < (few.high - few.low) / 2
