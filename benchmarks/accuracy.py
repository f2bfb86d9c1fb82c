"""Measures the tables of the paper, one run at a time, and keeps one JSON line per run.

  python -m benchmarks.accuracy --table=1                      # all classes, seeds and recipes
  python -m benchmarks.accuracy --table=1 --classes=2 --seeds=0 --recipe=default
  python -m benchmarks.accuracy --report                       # write the tables into the pages
  python -m benchmarks.accuracy --report --results=mine.jsonl  # print the tables of other results

A run that is already in the results is skipped, so the same command continues a table that was
interrupted. To repeat a run, write to another `--results` file. Table 1 uses protocol split80
(digits, MNIST, Fashion-MNIST). Tables 2 and 3 use the official splits of MNIST and CIFAR-10.
Table 5 is the ablation. `--report` writes the table of means into README.md and the other tables
into docs/pages/results.md.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from benchmarks import machine, pages, rendering, simple, tables
from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.utils.files import read_csv, write_csv

flags.DEFINE_enum("table", None, tables.TABLES, "Table of the paper.")
flags.DEFINE_list("datasets", [], "Data sets of the table; all by default.")
flags.DEFINE_list("classes", [], "Normal classes, as integer labels; all by default.")
flags.DEFINE_list("seeds", [], "Seeds; by default those of the recipe in this table.")
flags.DEFINE_enum(
    "recipe",
    None,
    tables.RECIPES_AND_METHODS,
    "Recipe or simple method; all of the table by default.",
)
flags.DEFINE_string("variant", None, "Variant; all of the table by default.")
flags.DEFINE_integer(
    "epochs", None, "Epochs, to try a table out; by default those of the recipe.", lower_bound=1
)
flags.DEFINE_string("data_dir", None, "Folder of a built-in data set, as for train.py.")
flags.DEFINE_string("results", str(tables.RESULTS / "accuracy.jsonl"), "Results file.")
flags.DEFINE_bool("report", False, "Write the tables of existing results instead of measuring.")

FLAGS = flags.FLAGS
# Where the data is stored has no effect on a result.
PLACES = ("data_dir", "dataset_path")
# The classes whose ROC curves the paper shows.
FIGURE_5 = {0: "plane", 4: "deer"}


def list_runs():
    """Lists the runs that the flags ask for, dicts of `tables.KEY`, ordered by seed."""
    table = tables.TABLES[FLAGS.table]
    asked = {
        "dataset": FLAGS.datasets,
        "normal": FLAGS.classes,
        "recipe": [FLAGS.recipe] if FLAGS.recipe else [],
        "variant": [FLAGS.variant] if FLAGS.variant else [],
    }
    runs = [
        {
            "seed": int(seed),
            "dataset": dataset,
            "protocol": protocol,
            "recipe": recipe,
            "variant": variant,
            "normal": normal,
        }
        for dataset, protocol in table["sets"]
        for recipe, seeds in table["seeds"].items()
        for variant in table["variants"]
        for seed in FLAGS.seeds or seeds
        for normal in tables.CLASSES
    ]
    for name, values in asked.items():
        if unknown := sorted(set(values) - {str(run[name]) for run in runs}):
            raise app.UsageError(
                f"Expected runs of table {FLAGS.table}: {tables.describe(FLAGS.table)}. "
                f"Received: {', '.join(unknown)}"
            )
        runs = [run for run in runs if not values or str(run[name]) in values]
    return sorted(runs, key=lambda run: run["seed"])


def is_measured(run):
    """Whether a run is in the results; exits if another version of the recipe made its line."""
    line = tables.find_line(FLAGS.results, run)
    if line and run["recipe"] not in simple.METHODS and not tables.is_current(line, FLAGS.epochs):
        sys.exit(
            f"{FLAGS.results} holds results from another version of the recipe. Remove the lines "
            f"of this run: {run}"
        )
    return line is not None


def keep_roc(scores, run):
    """Saves the ROC curve of a run, 201 points, beside the results."""
    columns = read_csv(scores)
    truth, score = (np.array(columns[name], float) for name in ("true_label", "score"))
    fpr, tpr, _ = roc_curve(truth, score)
    grid = np.linspace(0, 1, 201)
    folder = Path(FLAGS.results).parent / "roc"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{run['dataset']}-{FIGURE_5[run['normal']]}-seed{run['seed']}.csv"
    tpr = np.interp(grid, fpr, tpr).round(6)
    write_csv(folder / name, {"fpr": grid.round(3).tolist(), "tpr": tpr.tolist()})


def measure_detector(run):
    """Runs train.py once, in a temporary folder; returns the run's config and metrics."""
    with tempfile.TemporaryDirectory() as output_dir:
        arguments = {**run, "data_dir": FLAGS.data_dir, "epochs": FLAGS.epochs}
        if run["recipe"] in tables.RIVAL_NETWORKS:
            arguments |= {"method": run["recipe"], "recipe": None, "variant": None}
        command = [f"--{name}={value}" for name, value in arguments.items() if value is not None]
        subprocess.run(
            [sys.executable, "train.py", *command, f"--output_dir={output_dir}"],
            cwd=tables.ROOT,
            check=True,
        )
        (config,) = Path(output_dir).rglob("config.json")
        if (run["dataset"], run["recipe"]) == ("cifar10", "default") and run["normal"] in FIGURE_5:
            keep_roc(config.with_name("scores.csv"), run)
        metrics = json.loads(config.with_name("metrics.json").read_text())
        return {**json.loads(config.read_text()), **metrics, **run}


def measure_simple(run):
    """Fits and scores a simple method; returns the run and its metrics."""
    dataset = load_dataset(run["dataset"], FLAGS.data_dir)
    split = make_split(dataset, run["protocol"], run["normal"], run["seed"])
    scores = simple.score(run["recipe"], split, run["seed"])
    return {
        **run,
        "normal_name": split.normal_name,
        "n_train": len(split.x_train) + len(split.x_val),
        "auroc": float(roc_auc_score(split.y_test, scores)),
        "average_precision": float(average_precision_score(split.y_test, scores)),
    }


def measure(run):
    """Measures a run and returns its line, with the total time in seconds."""
    began = time.perf_counter()
    is_simple = run["recipe"] in simple.METHODS
    line = measure_simple(run) if is_simple else measure_detector(run)
    line["seconds"] = round(time.perf_counter() - began, 3)
    return {
        name: value for name, value in {**line, **machine.versions()}.items() if name not in PLACES
    }


def main(argv):
    del argv
    if FLAGS.report:
        if FLAGS["results"].using_default_value:
            pages.write_report()
        else:
            lines = tables.read_lines(FLAGS.results)
            parts = (rendering.render_table(lines, table) for table in tables.TABLES)
            print("\n\n".join([rendering.render_means(lines), *parts]))
        return
    if FLAGS.table is None:
        raise app.UsageError(f"Expected --table={'|'.join(tables.TABLES)} or --report.")
    for run in list_runs():
        if is_measured(run):
            continue
        line = measure(run)
        tables.append_line(FLAGS.results, line)
        print(*run.values(), f"AUROC {line['auroc']:.4f}", line["seconds"], "s", flush=True)


if __name__ == "__main__":
    app.run(main)
