"""Plots of a scored set; they need matplotlib."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import auc, precision_recall_curve, roc_curve

NORMAL, ANOMALOUS, UNKNOWN = "#3b6ea8", "#c8553d", "#777777"
SIZE = (5, 3.6)
# Where the histogram's axes lie in its picture, left and width, so that a page can mark a score.
HISTOGRAM_AXES = (0.04, 0.92)
BINS = 50
# Scores above this quantile are shown in the last bin: one huge score would squeeze the others.
SHOWN_QUANTILE = 0.995


def draw_roc(scores, true_labels):
    """The ROC curve, a figure."""
    fpr, tpr, _ = roc_curve(true_labels, scores)
    figure, axis = _square("false positive rate", "true positive rate")
    axis.plot([0, 1], [0, 1], color=UNKNOWN, linestyle=":")
    axis.plot(fpr, tpr, color=ANOMALOUS, label=f"AUROC {auc(fpr, tpr):.3f}")
    axis.legend(frameon=False, loc="lower right")
    return figure


def draw_precision_recall(scores, true_labels):
    """Precision over recall, a figure; dotted is what blind guesses would reach."""
    precision, recall, _ = precision_recall_curve(true_labels, scores)
    figure, axis = _square("recall", "precision")
    axis.axhline(np.mean(true_labels), color=UNKNOWN, linestyle=":")
    axis.step(recall, precision, where="post", color=ANOMALOUS)
    return figure


def histogram_range(scores):
    """The lowest and the highest score that `draw_histogram` shows."""
    low, high = np.min(scores), np.quantile(scores, SHOWN_QUANTILE)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def draw_histogram(scores, true_labels, threshold):
    """How often which score occurs, by true label if there are any, a figure."""
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
        axis.hist(shown, BINS, (low, high), alpha=0.6, color=colour, label=name)
    axis.axvline(np.clip(threshold, low, high), color="black", linestyle="--", label="threshold")
    axis.set(xlim=(low, high), xlabel="score; the last bar holds all higher ones", yticks=[])
    axis.legend(frameon=False)
    axis.spines[["top", "left", "right"]].set_visible(False)
    return figure


def heat(share):
    """Anomaly maps `(n, h, w)` in [0, 1] as colours, uint8 `(n, h, w, 3)`; 1 is the lightest."""
    return matplotlib.colormaps["magma"](share, bytes=True)[..., :3]


def _square(x_name, y_name):
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel=x_name, ylabel=y_name)
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis
