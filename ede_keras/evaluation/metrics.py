"""How well scores and labels agree with the truth."""

import numpy as np
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score


def compute_metrics(scores, labels, true_labels):
    """Metrics of a scored test set.

    Args:
        scores: `(n,)`, higher for more anomalous.
        labels: `(n,)`, 1 where the threshold calls an image anomalous.
        true_labels: `(n,)`, 1 for anomalous; None if nothing is known.

    Returns:
        A dict: `auroc`, `average_precision` and `f1` (of the anomalous class, at the threshold),
        floats, or None where the test set is of one class or nothing is known; and the counts
        `n_test` and `n_anomalous`.

    Example:
        >>> compute_metrics([0.1, 0.2, 0.9], [0, 1, 1], [0, 0, 1])["auroc"]
        1.0
    """
    n_anomalous = None if true_labels is None else int(np.sum(true_labels))
    counts = {"n_test": len(scores), "n_anomalous": n_anomalous}
    if n_anomalous in (None, 0, len(scores)):
        return {"auroc": None, "average_precision": None, "f1": None, **counts}
    return {
        "auroc": float(roc_auc_score(true_labels, scores)),
        "average_precision": float(average_precision_score(true_labels, scores)),
        "f1": float(f1_score(true_labels, labels, zero_division=0)),
        **counts,
    }
