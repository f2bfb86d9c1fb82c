"""Trains on classes and seeds by the training command; keeps a JSON line of every run.

  python -m benchmarks.accuracy --dataset=fmnist --classes=2 --seeds=0,1,2 --recipe=paper
  python -m benchmarks.accuracy --report

A run that is in the results already is not repeated, so a stopped measurement goes on; give
another `--results` to repeat it. `--report` writes the table of the results into README.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from absl import app, flags

from ede_keras.files import atomic_path
from ede_keras.recipes import get_recipe

ROOT = Path(__file__).parent.parent

flags.DEFINE_string("dataset", "digits", "As for train.py.")
flags.DEFINE_string("data_dir", None, "As for train.py.")
flags.DEFINE_list("classes", [], "Normal classes, integer labels.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds.")
flags.DEFINE_string("recipe", "default", "As for train.py.")
flags.DEFINE_string("variant", "full", "As for train.py.")
flags.DEFINE_string("results", str(ROOT / "benchmarks/results/accuracy.jsonl"), "Lines go here.")
flags.DEFINE_bool("report", False, "Writes the results into README instead.")

FLAGS = flags.FLAGS
KEY = ("dataset", "normal", "seed", "recipe", "variant")
GROUP = ("dataset", "protocol", "normal", "recipe", "variant")
MARKS = ("<!-- results -->", "<!-- end of results -->")


def read_lines(path):
    """The runs that a results file holds, a list of dicts."""
    path = Path(path)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def render_table(lines):
    """The results as a Markdown table: mean and deviation over the seeds."""
    runs = {}
    for line in lines:
        runs.setdefault(tuple(line[name] for name in GROUP), []).append(line)
    rows = [
        "| data, protocol | normal class | recipe | AUROC | average precision | seeds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (dataset, protocol, normal, recipe, variant), group in sorted(runs.items()):
        cells = [
            f"{np.mean(values):.3f} ± {np.std(values):.3f}"
            for name in ("auroc", "average_precision")
            for values in [[line[name] for line in group]]
        ]
        named = recipe if variant == "full" else f"{recipe}, {variant}"
        what = " ".join(dict.fromkeys((str(normal), group[0]["normal_name"])))
        seeds = ", ".join(str(seed) for seed in sorted(line["seed"] for line in group))
        rows.append(f"| {dataset}, {protocol} | {what} | {named} | {' | '.join(cells)} | {seeds} |")
    return "\n".join(rows)


def write_report(lines, readme):
    """Replaces what stands between the two marks in README by the table."""
    before, rest = readme.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    with atomic_path(readme) as path:
        path.write_text(f"{before}{MARKS[0]}\n{render_table(lines)}\n{MARKS[1]}{after}")


def find_line(lines, key):
    """The line of a run, or None; one that another version of the recipe made is an error."""
    found = [line for line in lines if tuple(line[name] for name in KEY) == key]
    if not found:
        return None
    recipe = {name: value for part in get_recipe(FLAGS.recipe) for name, value in part.items()}
    if any(found[0].get(name) != value for name, value in recipe.items() if value is not None):
        sys.exit(f"{FLAGS.results} holds {key} of another version of the recipe: remove its lines.")
    return found[0]


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
    if FLAGS.report:
        write_report(read_lines(results), ROOT / "README.md")
        return
    results.parent.mkdir(parents=True, exist_ok=True)
    for seed in FLAGS.seeds:
        for normal in FLAGS.classes:
            key = (FLAGS.dataset, int(normal), int(seed), FLAGS.recipe, FLAGS.variant)
            if find_line(read_lines(results), key):
                continue
            line = measure({**dict(zip(KEY, key, strict=True)), "data_dir": FLAGS.data_dir})
            with open(results, "a") as file:
                file.write(json.dumps(line) + "\n")
            print(dict(zip(KEY, key, strict=True)), "AUROC", line["auroc"], flush=True)


if __name__ == "__main__":
    app.run(main)
