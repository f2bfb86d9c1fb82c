"""Plots of scored images. They need matplotlib."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import auc, precision_recall_curve, roc_curve

from ede_keras.layers.anomaly_score import HIGHEST_SCORE

NORMAL, ANOMALOUS, UNKNOWN = "#3b6ea8", "#c8553d", "#777777"
SIZE = (5.0, 3.6)  # inches
HISTOGRAM_SIZE = (6.5, 3.2)  # inches; on a phone the text of a wider plot is too small
# Left edge and width of the histogram's axes, as fractions of the picture's width. The report uses
# them to mark a score in the picture.
HISTOGRAM_AXES = (0.04, 0.92)
BINS = 50
# The last bin holds all scores above this quantile, so that outliers do not squeeze the others.
SHOWN_QUANTILE = 0.995
LINES = ("-", "--", "-.")


def plot_roc(scores: np.ndarray, true_labels: np.ndarray) -> Figure:
    """Plots the ROC curve.

    Args:
        scores: Floats `(n,)`, higher means more anomalous.
        true_labels: Integers `(n,)`, 1 for anomalous, 0 for normal; both must occur.

    Returns:
        The figure.
    """
    figure, axis = _make_roc()
    fpr, tpr, _ = roc_curve(true_labels, scores)
    axis.plot(fpr, tpr, color=ANOMALOUS, label=f"AUROC {auc(fpr, tpr):.3f}")
    axis.legend(frameon=False, loc="lower right")
    return figure


def plot_rocs(scored: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Plots several ROC curves.

    Args:
        scored: `(scores, true_labels)`, both as in `plot_roc`, by the name to show.

    Returns:
        The figure.
    """
    figure, axis = _make_roc()
    # The names have their place beside the axes, a line for each.
    figure.set_size_inches(SIZE[0] * 1.6, max(SIZE[1], 0.22 * len(scored)))
    for i, (name, (scores, true_labels)) in enumerate(scored.items()):
        fpr, tpr, _ = roc_curve(true_labels, scores)
        # There are ten colours; then they come again with another line.
        style = LINES[i // 10 % len(LINES)]
        label = f"{auc(fpr, tpr):.3f}  {name}"
        axis.plot(fpr, tpr, color=f"C{i % 10}", linestyle=style, label=label)
    figure.legend(title="AUROC", frameon=False, loc="outside right upper", fontsize="small")
    return figure


def plot_precision_recall(scores: np.ndarray, true_labels: np.ndarray) -> Figure:
    """Plots precision over recall. A dotted line shows the precision of random scores.

    Args:
        scores: As in `plot_roc`.
        true_labels: As in `plot_roc`.

    Returns:
        The figure.
    """
    precision, recall, _ = precision_recall_curve(true_labels, scores)
    figure, axis = _make_square("recall", "precision")
    axis.axhline(np.mean(true_labels), color=UNKNOWN, linestyle=":")
    axis.step(recall, precision, where="post", color=ANOMALOUS)
    return figure


def histogram_range(scores: np.ndarray, threshold: float) -> tuple[float, float]:
    """Chooses the axis of `plot_histogram`.

    Args:
        scores: Floats `(n,)`, n at least 1.
        threshold: The threshold of the score.

    Returns:
        The lowest and the highest value shown. The threshold lies between them unless it is
        infinite, and so do the scores but the highest outliers.
    """
    # A broken image has the highest score of all: on an axis up to there, all others are one bar.
    usual = np.asarray(scores[scores < HIGHEST_SCORE], "float64")
    ends = [threshold] if np.isfinite(threshold) else []
    if len(usual):
        ends += [usual.min(), np.quantile(usual, SHOWN_QUANTILE, method="higher")]
    low, high = float(min(ends, default=0)), float(max(ends, default=0))
    margin = 0.02 * (high - low) or 0.5  # so that no line lies on the edge
    return low - margin, high + margin


def plot_histogram(scores: np.ndarray, true_labels: np.ndarray | None, threshold: float) -> Figure:
    """Plots a histogram of the scores with the threshold.

    Args:
        scores: Floats `(n,)`.
        true_labels: Integers `(n,)`, 1 for anomalous, 0 for normal; each has its own histogram.
            None if unknown.
        threshold: The threshold of the score, drawn unless it is infinite.

    Returns:
        The figure.
    """
    low, high = histogram_range(scores, threshold)
    kinds = [("not labelled", UNKNOWN, np.full(len(scores), True))]
    if true_labels is not None:
        kinds = [
            (name, colour, true_labels == label)
            for label, (name, colour) in enumerate((("normal", NORMAL), ("anomalous", ANOMALOUS)))
        ]
    figure = Figure(figsize=HISTOGRAM_SIZE)
    left, width = HISTOGRAM_AXES
    axis = figure.add_axes((left, 0.18, width, 0.79))
    for name, colour, chosen in kinds:
        shown = np.clip(scores[chosen], low, high)
        axis.hist(shown, bins=BINS, range=(low, high), alpha=0.6, color=colour, label=name)
    if np.isfinite(threshold):
        axis.axvline(threshold, color="black", linestyle="--", label="threshold")
    outliers = "; the last bar holds all higher ones" if np.max(scores) > high else ""
    axis.set(xlim=(low, high), xlabel=f"score{outliers}", yticks=[])
    axis.legend(frameon=False)
    axis.spines[["top", "left", "right"]].set_visible(False)
    return figure


def _make_roc() -> tuple[Figure, Axes]:
    """An empty plot for ROC curves; a dotted line shows that of random scores."""
    figure, axis = _make_square("false positive rate", "true positive rate")
    axis.plot([0, 1], [0, 1], color=UNKNOWN, linestyle=":")
    return figure, axis


def _make_square(x_name: str, y_name: str) -> tuple[Figure, Axes]:
    """An empty plot with both axes from 0 to 1."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel=x_name, ylabel=y_name)
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis
