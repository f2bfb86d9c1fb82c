"""Metrics that compare scores and labels with the true labels."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score


def compute_metrics(
    scores: ArrayLike, labels: ArrayLike, true_labels: ArrayLike | None
) -> dict[str, float | int | None]:
    """Computes the metrics of a scored test set.

    Args:
        scores: Floats `(n,)`, higher means more anomalous.
        labels: Integers `(n,)`, 1 if the score is above the threshold, else 0.
        true_labels: Integers `(n,)`, 1 for anomalous, 0 for normal. None if unknown.

    Returns:
        A dict with the floats `auroc`, `average_precision` and `f1`, each in [0, 1], and the
        counts `n_test` and `n_anomalous`. `f1` is that of the anomalous class at the threshold.
        The three metrics are None if the test set has only one class or its true labels are
        unknown; in the latter case `n_anomalous` is None too.

    Example:
        >>> compute_metrics([0.1, 0.2, 0.9], [0, 1, 1], [0, 0, 1])["auroc"]
        1.0
    """
    n_test = np.size(scores)
    n_anomalous = None if true_labels is None else int(np.sum(true_labels))
    counts = {"n_test": n_test, "n_anomalous": n_anomalous}
    if n_anomalous in (None, 0, n_test):
        return {"auroc": None, "average_precision": None, "f1": None, **counts}
    return {
        "auroc": float(roc_auc_score(true_labels, scores)),
        "average_precision": float(average_precision_score(true_labels, scores)),
        "f1": float(f1_score(true_labels, labels, zero_division=0)),
        **counts,
    }
