"""Measures the effect of single changes to the default recipe, on the data used for tuning.

  python -m benchmarks.study --data_dir=...  # all changes; continues where it stopped
  python -m benchmarks.study --report        # write the table into docs/pages/recipes.md

Only training parts are used, split by `split80`, with seeds that the tables do not use, for half
the epochs. Results go to `benchmarks/results/study/`.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks import machine, pages, rendering, tables
from ede_keras.data.datasets import load_dataset
from ede_keras.utils.files import read_json

EPOCHS = 4
DATASETS = [dataset for dataset, _ in tables.TASKS]

flags.DEFINE_string("data_dir", None, "Folder of a built-in data set, as for train.py.")
flags.DEFINE_multi_enum(
    "change", list(tables.CHANGES), list(tables.CHANGES), "Changes to measure; all by default."
)
flags.DEFINE_multi_enum("dataset", DATASETS, DATASETS, "Data sets; all by default.")
flags.DEFINE_string("results", str(tables.RESULTS / "study/study.jsonl"), "Results file.")
flags.DEFINE_bool("report", False, "Write the table into docs/pages/recipes.md and stop.")

FLAGS = flags.FLAGS
PAGE = tables.ROOT / "docs/pages/recipes.md"


def make_task(dataset, folder):
    """Writes a training part to a file, as the two parts of a set that `split80` pools again."""
    loaded = load_dataset(dataset, FLAGS.data_dir)
    x, y = loaded.x_train, loaded.y_train
    half = len(x) // 2
    path = Path(folder) / f"{dataset}.npz"
    np.savez(path, x_train=x[:half], y_train=y[:half], x_test=x[half:], y_test=y[half:])
    return path


def measure(task, normal, seed, change):
    """Runs train.py with a change and returns the AUROC."""
    with tempfile.TemporaryDirectory() as output_dir:
        command = [f"--dataset={task}", "--protocol=split80", f"--normal={normal}"]
        command += [f"--seed={seed}", f"--epochs={EPOCHS}", f"--output_dir={output_dir}"]
        subprocess.run(
            [sys.executable, "train.py", *command, *tables.CHANGES[change]],
            cwd=tables.ROOT,
            check=True,
        )
        (metrics,) = Path(output_dir).rglob("metrics.json")
        return read_json(metrics)["auroc"]


def main(argv):
    del argv
    if FLAGS.report:
        study = rendering.render_study(tables.read_lines(FLAGS.results))
        pages.write_parts(PAGE, {"study": study})
        return
    with tempfile.TemporaryDirectory() as folder:
        tasks = {dataset: make_task(dataset, folder) for dataset in FLAGS.dataset}
        for seed in tables.TUNING_SEEDS:
            for dataset, normal in tables.TASKS:
                for change in FLAGS.change:
                    run = {"change": change, "dataset": dataset, "normal": normal, "seed": seed}
                    if dataset not in tasks or tables.find_line(FLAGS.results, run):
                        continue
                    auroc = measure(tasks[dataset], normal, seed, change)
                    line = {**run, "flags": " ".join(tables.CHANGES[change]), "epochs": EPOCHS}
                    line |= {"auroc": auroc, **machine.versions()}
                    tables.append_line(FLAGS.results, line)
                    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    app.run(main)
