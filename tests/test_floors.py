"""What the default recipe must reach at the least; measured by the command itself."""

import json

import numpy as np
import pytest


@pytest.mark.slow
def test_digits(run_command, tmp_path):
    aurocs = []
    for seed in range(3):
        run_command(
            "train.py",
            "--dataset=digits",
            "--normal=2",
            f"--seed={seed}",
            f"--output_dir={tmp_path}",
        )
        metrics = json.loads((tmp_path / f"digits/2/{seed}/metrics.json").read_text())
        aurocs.append(metrics["auroc"])
    assert np.mean(aurocs) >= 0.90
