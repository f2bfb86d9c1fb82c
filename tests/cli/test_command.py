import numpy as np
import pytest

from ede_keras.cli import common
from ede_keras.evaluation.metrics import compute_metrics


@pytest.mark.parametrize(
    ("true_labels", "shown"),
    [
        (None, "no true labels"),
        ([0, 0], "no anomalies known"),
        ([1, 1], "no normal images known"),
        ([0, 1], "1.0000"),
    ],
)
def test_table_says_why_there_are_no_metrics(capsys, true_labels, shown):
    truth = true_labels and np.array(true_labels)
    metrics = compute_metrics(np.array([0.1, 0.9]), np.array([0, 1]), truth)
    common.print_table({**metrics, "threshold": 0.5, "images_per_second": 9}, "here")
    assert f"AUROC                 {shown}\n" in capsys.readouterr().out
