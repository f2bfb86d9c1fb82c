"""Metrics of scores and labels, compared with values computed by hand."""

import pytest

from ede_keras.evaluation.metrics import compare_terms, compute_metrics


def test_by_hand():
    # 3 of the 2 x 2 pairs of an anomalous and a normal image are in order. The precision at each
    # anomaly, from the highest score, is 1 and 2/3. At the threshold there are 1 true positive,
    # 1 false positive and 1 false negative.
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


def test_unknown_true_labels_have_no_metrics():
    metrics = compute_metrics([0.1, 0.2], [0, 1], None)
    assert metrics == dict.fromkeys(("auroc", "average_precision", "f1", "n_anomalous")) | {
        "n_test": 2
    }


def test_terms_by_hand():
    # Alone, a has all four pairs of an anomalous and a normal image in order; b has one of them and
    # one tie. The model labels the last two images as anomalous.
    parts = {"a": [0.0, 0.1, 0.5, 0.7], "b": [0.2, 0.0, 0.2, -0.1], "c": [0.0, 0.0, 0.0, 0.0]}
    found = compare_terms(parts, labels=[0, 0, 1, 1], true_labels=[0, 0, 1, 1])
    assert found["a"] == {"share": pytest.approx(0.6), "auroc": 1.0, "auroc_without": 1.5 / 4}
    assert found["b"] == {"share": pytest.approx(0.05), "auroc": 1.5 / 4, "auroc_without": 1.0}
    assert found["c"]["auroc"] == 0.5
    assert found["c"]["auroc_without"] == 1.0  # sums .2 .1 .7 .6


def test_terms_of_broken_images_and_without_labels():
    parts = {"a": [0.0, float("nan"), 3e38], "b": [1.0, 0.0, 3e38]}
    found = compare_terms(parts, labels=[0, 1, 1], true_labels=[0, 1, 1])
    assert found["a"]["auroc"] == 1.0 and found["a"]["share"] > 1e38
    terms = {"a": [3.0, 2.0, 5.0], "b": [0.0, 4.0, 1.0]}
    with_terms = compare_terms(parts, [0, 1, 1], [0, 1, 1], terms)
    assert (with_terms["a"]["auroc"], with_terms["b"]["auroc"]) == (0.5, 1.0)
    assert with_terms["a"]["auroc_without"] == found["a"]["auroc_without"]
    found = compare_terms({"a": [0.0, 1.0]}, labels=[0, 0], true_labels=None)
    assert found == {"a": {"share": None, "auroc": None, "auroc_without": None}}
