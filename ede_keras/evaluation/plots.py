"""Plots of scored images. They need matplotlib."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import auc, precision_recall_curve, roc_curve

NORMAL, ANOMALOUS, UNKNOWN = "#3b6ea8", "#c8553d", "#777777"
SIZE = (5.0, 3.6)  # inches
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


def histogram_range(scores: np.ndarray) -> tuple[float, float]:
    """Returns the lowest and the highest score that `plot_histogram` shows."""
    low, high = float(np.min(scores)), float(np.quantile(scores, SHOWN_QUANTILE))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def plot_histogram(scores: np.ndarray, true_labels: np.ndarray | None, threshold: float) -> Figure:
    """Plots a histogram of the scores with the threshold.

    Args:
        scores: Floats `(n,)`.
        true_labels: Integers `(n,)`, 1 for anomalous, 0 for normal; each has its own histogram.
            None if unknown.
        threshold: The threshold of the score.

    Returns:
        The figure.
    """
    low, high = histogram_range(scores)
    kinds = [("not labelled", UNKNOWN, np.full(len(scores), True))]
    if true_labels is not None:
        kinds = [
            (name, colour, true_labels == label)
            for label, (name, colour) in enumerate((("normal", NORMAL), ("anomalous", ANOMALOUS)))
        ]
    figure = Figure(figsize=(SIZE[0] * 1.8, SIZE[1]))
    left, width = HISTOGRAM_AXES
    axis = figure.add_axes((left, 0.16, width, 0.8))
    for name, colour, chosen in kinds:
        shown = np.clip(scores[chosen], low, high)
        axis.hist(shown, bins=BINS, range=(low, high), alpha=0.6, color=colour, label=name)
    axis.axvline(np.clip(threshold, low, high), color="black", linestyle="--", label="threshold")
    axis.set(xlim=(low, high), xlabel="score; the last bar holds all higher ones", yticks=[])
    axis.legend(frameon=False)
    axis.spines[["top", "left", "right"]].set_visible(False)
    return figure


def apply_colormap(values: np.ndarray) -> np.ndarray:
    """Colours anomaly maps.

    Args:
        values: Floats `(n, height, width)` in [0, 1].

    Returns:
        uint8 `(n, height, width, 3)`, RGB; 1 is the lightest colour.
    """
    return matplotlib.colormaps["magma"](values, bytes=True)[..., :3]


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
