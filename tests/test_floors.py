"""What the default recipe must reach at the least; measured by the command itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy
from ede_keras.recipes import get_recipe

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_digits(run_python, tmp_path):
    aurocs = []
    for seed in range(3):
        run_python(
            "train.py",
            "--dataset=digits",
            "--normal=2",
            f"--seed={seed}",
            f"--output_dir={tmp_path}",
        )
        metrics = json.loads((tmp_path / f"digits/2/{seed}/metrics.json").read_text())
        aurocs.append(metrics["auroc"])
    assert np.mean(aurocs) >= 0.90


def test_fashion_mnist_in_the_committed_results():
    """Training here would take minutes; the lines are of the recipe as it is now."""
    lines = [
        line
        for line in accuracy.read_lines(ROOT / "benchmarks/results/accuracy.jsonl")
        if (line["dataset"], line["normal"], line["recipe"]) == ("fmnist", 2, "default")
    ]
    assert sorted(line["seed"] for line in lines) == [0, 1, 2]
    assert np.mean([line["auroc"] for line in lines]) >= 0.80
    for part in get_recipe("default"):
        for name, value in part.items():
            assert all(line[name] == value or value is None for line in lines)
