import pytest

from ede_keras.evaluation.metrics import compute_metrics


def test_by_hand():
    # Of 2 x 2 pairs of an anomaly and a normal image 3 are in order. Precision at each anomaly
    # from the top: 1, 2/3. At the threshold: 1 true and 1 false alarm, 1 miss.
    metrics = compute_metrics([0.9, 0.5, 0.4, 0.1], [1, 1, 0, 0], [1, 0, 1, 0])
    assert metrics["auroc"] == 0.75
    assert metrics["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics["f1"] == pytest.approx(2 * 1 / (2 * 1 + 1 + 1))
    assert (metrics["n_test"], metrics["n_anomalous"]) == (4, 2)


@pytest.mark.parametrize("truth", [[0, 0], [1, 1]])
def test_one_class_alone_has_no_metrics(truth):
    metrics = compute_metrics([0.1, 0.2], [0, 1], truth)
    assert metrics["auroc"] is metrics["average_precision"] is metrics["f1"] is None
    assert metrics["n_anomalous"] == sum(truth)


def test_nothing_known_has_no_metrics():
    metrics = compute_metrics([0.1, 0.2], [0, 1], None)
    assert metrics == dict.fromkeys(("auroc", "average_precision", "f1", "n_anomalous")) | {
        "n_test": 2
    }
