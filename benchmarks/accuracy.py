"""Trains on classes and seeds by the training command; keeps a JSON line of every run.

  python -m benchmarks.accuracy --dataset=fmnist --classes=2 --seeds=0,1,2 --recipe=paper

A run that is in the results already is not repeated, so a stopped measurement goes on.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from absl import app, flags

ROOT = Path(__file__).parent.parent

flags.DEFINE_string("dataset", "digits", "As for train.py.")
flags.DEFINE_string("data_dir", None, "As for train.py.")
flags.DEFINE_list("classes", None, "Normal classes, integer labels.", required=True)
flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds.")
flags.DEFINE_string("recipe", "default", "As for train.py.")
flags.DEFINE_string("variant", "full", "As for train.py.")
flags.DEFINE_string("results", str(ROOT / "benchmarks/results/accuracy.jsonl"), "Lines go here.")

FLAGS = flags.FLAGS
KEY = ("dataset", "normal", "seed", "recipe", "variant")


def read_lines(path):
    """The runs that a results file holds, a list of dicts."""
    path = Path(path)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def versions():
    packages = ("tensorflow", "keras", "numpy", "scikit-learn")
    found = {f"{name}_version": version(name) for name in packages}
    return {**found, "python_version": platform.python_version(), "cpus": os.cpu_count()}


def measure(arguments):
    """Trains once, in a folder that is thrown away; returns the line of the run."""
    with tempfile.TemporaryDirectory() as output_dir:
        command = [f"--{name}={value}" for name, value in arguments.items() if value is not None]
        subprocess.run(
            [sys.executable, "train.py", *command, f"--output_dir={output_dir}"],
            cwd=ROOT,
            check=True,
        )
        (config,) = Path(output_dir).rglob("config.json")
        metrics = json.loads(config.with_name("metrics.json").read_text())
        line = {**json.loads(config.read_text()), **metrics, **versions()}
    # Where the data lay on this machine shapes no result.
    return {key: value for key, value in line.items() if key not in ("data_dir", "dataset_path")}


def main(argv):
    del argv
    results = Path(FLAGS.results)
    results.parent.mkdir(parents=True, exist_ok=True)
    for seed in FLAGS.seeds:
        for normal in FLAGS.classes:
            key = (FLAGS.dataset, int(normal), int(seed), FLAGS.recipe, FLAGS.variant)
            if key in {tuple(line[name] for name in KEY) for line in read_lines(results)}:
                continue
            line = measure({**dict(zip(KEY, key, strict=True)), "data_dir": FLAGS.data_dir})
            with open(results, "a") as file:
                file.write(json.dumps(line) + "\n")
            print(dict(zip(KEY, key, strict=True)), "AUROC", line["auroc"], flush=True)


if __name__ == "__main__":
    app.run(main)
