"""The histogram of the scores and its threshold."""

import numpy as np
import pytest

from ede_keras.evaluation import plots
from ede_keras.layers.anomaly_score import HIGHEST_SCORE

BELOW = np.linspace(-6, 5, 8)
CASES = [
    (BELOW, 10.0),
    (BELOW, -300.0),
    (BELOW, 1e6),
    (BELOW, 5.0),
    (BELOW, 0.0),
    (np.array([2.5]), 2.5),
    (np.array([2.5]), 7.0),
    (np.full(30, 3.0), 3.0),
    (np.full(30, 3.0), 1.0),
    (np.array([0.0, 1.0, HIGHEST_SCORE]), 2.0),
    (np.array([HIGHEST_SCORE]), 2.0),
    (np.array([0.0, 1e30]), 2.0),
]


@pytest.mark.parametrize(("scores", "threshold"), CASES)
@pytest.mark.parametrize("known", [False, True])
def test_the_threshold_is_drawn_where_it_is(scores, threshold, known):
    scores = scores.astype("float32")
    true_labels = (np.arange(len(scores)) % 2) if known else None
    figure = plots.plot_histogram(scores, true_labels, threshold)
    (axis,) = figure.axes
    (line,) = axis.lines
    assert set(line.get_xdata()) == {threshold}
    low, high = axis.get_xlim()
    assert low < threshold < high
    assert (low, high) == plots.histogram_range(scores, threshold)
    assert sum(bar.get_height() for bar in axis.patches) == len(scores)
    figure.canvas.draw()


@pytest.mark.parametrize("threshold", [np.inf, -np.inf])
@pytest.mark.parametrize("scores", [BELOW, np.array([1.0]), np.full(3, HIGHEST_SCORE)])
def test_an_infinite_threshold_is_not_drawn(scores, threshold):
    figure = plots.plot_histogram(scores, None, threshold)
    (axis,) = figure.axes
    assert list(axis.lines) == [] and np.isfinite(axis.get_xlim()).all()
    figure.canvas.draw()


def test_outliers_are_in_the_last_bar_but_the_threshold_never_is():
    scores = np.append(np.linspace(0, 1, 999), 1000.0)
    (axis,) = plots.plot_histogram(scores, None, 0.5).axes
    assert axis.get_xlim()[1] < 1.1 and "holds all higher ones" in axis.get_xlabel()
    assert sum(bar.get_height() for bar in axis.patches) == 1000
    (axis,) = plots.plot_histogram(scores, None, 50.0).axes
    assert 50 < axis.get_xlim()[1] < 52
    (axis,) = plots.plot_histogram(scores[:-1], None, 0.5).axes
    assert axis.get_xlabel() == "score"
