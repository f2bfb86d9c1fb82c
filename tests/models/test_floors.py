"""What the default recipe must reach at the least."""

import json
import os
import shutil

import numpy as np
import pytest

from benchmarks import tables

# Mean AUROC over all classes, of the committed results.
FLOORS = {
    ("digits", "split80"): 0.990,
    ("fmnist", "split80"): 0.950,
    ("mnist", "split80"): 0.983,
    ("mnist", "official"): 0.983,
    ("cifar10", "official"): 0.800,
}


@pytest.mark.parametrize(("dataset", "protocol"), FLOORS)
def test_committed_results(dataset, protocol):
    groups = tables.group_runs(tables.read_results())
    classes = groups[dataset, protocol, "default", "full"]
    assert len(classes) == 10
    mean, _ = tables.mean_over_classes(classes)
    assert mean >= FLOORS[dataset, protocol]


@pytest.mark.slow
def test_digits(run_command, tmp_path):
    aurocs = []
    if trained := os.environ.get("EDE_DIGITS_RUN"):  # seed 0 of it, which need not be trained again
        shutil.copytree(trained, tmp_path / "digits/2/0")
    for seed in range(2):
        run_command(
            "train.py",
            "--dataset=digits",
            "--normal=2",
            f"--seed={seed}",
            f"--output_dir={tmp_path}",
            "--resume",
        )
        metrics = json.loads((tmp_path / f"digits/2/{seed}/metrics.json").read_text())
        aurocs.append(metrics["auroc"])
    assert np.mean(aurocs) >= 0.97
