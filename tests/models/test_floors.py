"""What the default recipe must reach at the least."""

import json
import os
from pathlib import Path

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
    recipes = ("default", f"{tables.EARLIER}default")
    found = [groups.get((dataset, protocol, recipe, "full"), {}) for recipe in recipes]
    classes = max(found, key=len)
    assert len(classes) == 10
    mean, _ = tables.mean_over_classes(classes)
    assert mean >= FLOORS[dataset, protocol]


@pytest.mark.slow
def test_digits(run_command, tmp_path):
    """README's first command; `EDE_DIGITS_RUN` is its run, if it has been run already."""
    if (trained := os.environ.get("EDE_DIGITS_RUN")) is None:
        trained = tmp_path / "digits/2/0"
        run_command("train.py", "--dataset=digits", "--normal=2", f"--output_dir={tmp_path}")
    assert json.loads(Path(trained, "metrics.json").read_text())["auroc"] >= 0.97
