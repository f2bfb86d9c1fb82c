"""How the command words which images are anomalous."""

import numpy as np
import pytest

from ede_keras.cli.verdicts import ALL_OF, N_SHOWN, print_verdicts


def said(capsys, n, n_anomalous, true_labels=None):
    labels = (np.arange(n) < n_anomalous).astype("int32")
    ids = np.array([f"{i}.png" for i in range(n)])
    print_verdicts(ids, labels * 2.0 + np.arange(n) / n, labels, true_labels, 1.5, each=False)
    return capsys.readouterr().out.splitlines()


def test_the_worst_are_named(capsys):
    lines = said(capsys, 15, 12)
    assert lines[1] == "12 of 15 images are anomalous, above 1.5"
    assert [line.split()[-1] for line in lines[2:12]] == [f"{i}.png" for i in range(11, 1, -1)]
    assert len(lines[2:]) == N_SHOWN + 1 and lines[-1] == "  and 2 more in the file"


@pytest.mark.parametrize(
    ("n", "n_anomalous", "known"),
    [(ALL_OF, ALL_OF, False), (ALL_OF, ALL_OF, True), (ALL_OF, ALL_OF - 1, False), (9, 9, False)],
)
def test_doubt_if_all_of_many_are_anomalous(capsys, n, n_anomalous, known):
    """Unless the true labels are known, which say more."""
    lines = said(capsys, n, n_anomalous, np.ones(n, "int32") if known else None)
    is_doubted = any(line.startswith("All of them: if some are good") for line in lines)
    assert is_doubted == (n_anomalous == n == ALL_OF and not known)
