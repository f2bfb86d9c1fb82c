"""Measures the tables of the paper, a run at a time, and keeps a JSON line of every run.

  python -m benchmarks.accuracy --table=1                        # all its classes, seeds, recipes
  python -m benchmarks.accuracy --table=1 --classes=2 --seeds=0 --recipe=default
  python -m benchmarks.accuracy --report                         # the tables into README
  python -m benchmarks.accuracy --report --results=mine.jsonl    # or those of your own, printed

A run that is in the results already is not repeated, so a stopped table goes on; give another
`--results` to repeat it. Table 1 is protocol split80 (digits, MNIST, Fashion-MNIST), table 2 MNIST
and table 3 CIFAR-10 as their publishers split them, table 5 the ablation.
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

from benchmarks import machine, simple, tables
from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.utils.files import read_csv, write_csv

flags.DEFINE_enum("table", None, tables.TABLES, "Table of the paper.")
flags.DEFINE_list("datasets", [], "Those of its data sets; by default all.")
flags.DEFINE_list("classes", [], "Normal classes, integer labels; by default all.")
flags.DEFINE_list("seeds", [], "Seeds; by default those of the recipe in this table.")
flags.DEFINE_enum("recipe", None, tables.RECIPES_AND_METHODS, "Recipe or simple method.")
flags.DEFINE_string("variant", None, "Variant; by default all of the table.")
flags.DEFINE_integer("epochs", None, "As for train.py, to try the table out.", lower_bound=1)
flags.DEFINE_string("data_dir", None, "As for train.py.")
flags.DEFINE_string("results", str(tables.RESULTS / "accuracy.jsonl"), "Lines go here.")
flags.DEFINE_bool("report", False, "Makes tables of results instead.")

FLAGS = flags.FLAGS
# Where the data lay on this machine shapes no result.
PLACES = ("data_dir", "dataset_path")
# The classes whose ROC curves the paper shows.
FIGURE_5 = {0: "plane", 4: "deer"}


def list_runs():
    """The runs that the flags ask for, dicts of `tables.KEY`: the first seed of all first."""
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
    """Whether a run has its line; one that another version of the recipe made is an error."""
    line = tables.find_line(FLAGS.results, run)
    if line and run["recipe"] not in simple.METHODS and not tables.is_current(line, FLAGS.epochs):
        sys.exit(f"{FLAGS.results} holds {run} of another version of the recipe: remove its lines.")
    return line is not None


def keep_roc(scores, run):
    """Keeps the ROC curve of a run, 201 points, beside the results."""
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
    """Trains once by the command, in a folder that is thrown away; returns config and metrics."""
    with tempfile.TemporaryDirectory() as output_dir:
        arguments = {**run, "data_dir": FLAGS.data_dir, "epochs": FLAGS.epochs}
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
        return {**json.loads(config.read_text()), **metrics}


def measure_simple(run):
    """Fits and scores a simple method; returns the run's facts and metrics."""
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
    """The line of a run, with the seconds that all of it took, start to end."""
    began = time.perf_counter()
    is_simple = run["recipe"] in simple.METHODS
    line = measure_simple(run) if is_simple else measure_detector(run)
    line["seconds"] = round(time.perf_counter() - began, 1)
    return {
        name: value for name, value in {**line, **machine.versions()}.items() if name not in PLACES
    }


def main(argv):
    del argv
    if FLAGS.report:
        if FLAGS["results"].using_default_value:
            tables.write_report()
        else:
            lines = tables.read_lines(FLAGS.results)
            print("\n\n".join(tables.render_table(lines, table) for table in tables.TABLES))
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
