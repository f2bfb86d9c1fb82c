"""Metrics that compare scores and labels with the true labels."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

RESAMPLES = 1000
INTERVAL = (0.025, 0.975)  # quantiles


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


def auroc_interval(scores: ArrayLike, true_labels: ArrayLike) -> tuple[float, float]:
    """The 95% interval of the AUROC: how much it depends on which images are in the test set.

    It is a bootstrap. The images are drawn 1,000 times with replacement, as many of each class as
    there are, and the interval leaves out the lowest and the highest 2.5% of the AUROCs. The seed
    is fixed. The interval says nothing about another training.

    Args:
        scores: As in `compute_metrics`.
        true_labels: Integers `(n,)`, 1 for anomalous, 0 for normal; both must occur.

    Returns:
        `(low, high)`, each in [0, 1].

    Example:
        >>> auroc_interval([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
        (1.0, 1.0)
    """
    values, ranks = np.unique(scores, return_inverse=True)
    classes = [ranks[np.asarray(true_labels) == label] for label in (0, 1)]
    rng = np.random.default_rng(0)
    aurocs = []
    for _ in range(RESAMPLES):
        # How often each value occurs: no need to sort again.
        normal, anomalous = (
            np.bincount(rng.choice(own, len(own)), minlength=len(values)) for own in classes
        )
        lower = np.cumsum(normal) - normal / 2  # a tie counts half
        aurocs.append(anomalous @ lower / (len(classes[0]) * len(classes[1])))
    low, high = np.quantile(aurocs, INTERVAL)
    return float(low), float(high)


def compare_terms(
    parts: Mapping[str, ArrayLike],
    labels: ArrayLike,
    true_labels: ArrayLike | None,
    terms: Mapping[str, ArrayLike] | None = None,
) -> dict[str, dict[str, float | None]]:
    """What each term contributes to the scores of a test set.

    Args:
        parts: Each term's part of the scores, floats `(n,)` by name; the score is their sum.
        labels: As in `compute_metrics`.
        true_labels: As in `compute_metrics`.
        terms: The terms themselves, by the same names, if a part is not as its term alone: that of
            the map's peak is 0 where the other terms are larger.

    Returns:
        A dict by the terms' names: `share`, the term's mean part of the scores of images that are
        labelled anomalous, None if there are none; `auroc`, that of the term alone; and
        `auroc_without`, that of the other terms together. The last two are None where
        `compute_metrics` gives no AUROC, and `auroc_without` is if there are no other terms.

    Example:
        >>> parts = {"a": [0.0, 0.1, 0.9], "b": [0.1, 0.2, 0.1]}
        >>> found = compare_terms(parts, labels=[0, 0, 1], true_labels=[0, 0, 1])
        >>> found["a"]["share"], found["a"]["auroc"], found["b"]["auroc_without"]
        (0.9, 1.0, 1.0)
    """
    flagged = np.asarray(labels) == 1
    limit = float(np.finfo("float32").max) / len(parts)

    # Values that are not finite belong to broken images, which count as anomalous.
    def finite(found):
        return np.nan_to_num(np.asarray(found, "float64"), nan=limit, posinf=limit, neginf=limit)

    values = {name: finite(part) for name, part in parts.items()}
    alone = {name: finite(term) for name, term in (terms or parts).items()}

    def auroc(parts):
        if true_labels is None or not parts or len(np.unique(true_labels)) < 2:
            return None
        return float(roc_auc_score(true_labels, sum(parts)))

    return {
        name: {
            "share": float(part[flagged].mean()) if flagged.any() else None,
            "auroc": auroc([alone[name]]),
            "auroc_without": auroc([value for other, value in values.items() if other != name]),
        }
        for name, part in values.items()
    }


def count_labels(
    labels: np.ndarray, true_labels: np.ndarray | None
) -> dict[int | None, tuple[int, int]]:
    """Counts the labels that the model gave to the images of each class.

    Args:
        labels: int32 `(n,)`, 1 for anomalous, as the model labelled the images.
        true_labels: Integers `(n,)`, 1 for anomalous. None if unknown.

    Returns:
        A dict from the true label, 0 or 1, to the numbers of images labelled
        `(normal, anomalous)`. If the true labels are unknown, its only key is None, for all
        images.
    """
    classes: dict[int | None, np.ndarray] = {None: np.full(len(labels), True)}
    if true_labels is not None:
        classes = {0: true_labels == 0, 1: true_labels == 1}
    return {
        true_label: (int((labels[chosen] == 0).sum()), int((labels[chosen] == 1).sum()))
        for true_label, chosen in classes.items()
    }
