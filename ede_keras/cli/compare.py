"""Compares finished runs: a line for each of those below the given folders.

ede-compare
ede-compare runs/digits/2 --csv=digits.csv
ede-compare runs/digits/2/0 runs/digits/2/wide --roc=roc.png

Without a folder it takes runs/. It reads what the runs have written and loads no model. The lines
are sorted by data set, normal class and AUROC. Runs with the same number in column "test set" have
scored the same images; only these compare. The 95% interval of an AUROC is a bootstrap over the
test images: 1,000 resamples of each class by itself, with a fixed seed. It does not cover what
another seed of the training would change. Cells of metrics are blank where the true labels are
unknown or of one class.
"""

import os
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from ede_keras.cli import command
from ede_keras.cli.runs import CONFIG, METRICS, OLD, SCORES, TRAIN_AGAIN, UNFINISHED
from ede_keras.errors import InputError
from ede_keras.evaluation.metrics import auroc_interval, count_labels
from ede_keras.utils.files import atomic_path, read_csv, read_json, reading, write_csv

FLAGS = flags.FLAGS
CONFIG_KEYS = ("recipe", "variant", "dataset", "normal_name", "protocol")
METRICS_KEYS = ("n_train", "n_test", "n_anomalous", "auroc", "average_precision", "train_seconds")
# Columns and their heads in the table. The interval is one cell there, and two in the CSV file.
HEADS = {
    "run": "run",
    "recipe": "recipe",
    "variant": "variant",
    "dataset": "data set",
    "normal": "normal",
    "test_set": "test set",
    "n_train": "n_train",
    "auroc": "AUROC",
    "interval": "95% interval",
    "average_precision": "average precision",
    "false_alarms": "false alarms",
    "missed": "missed",
    "train_seconds": "seconds",
}
TEXTS = ("run", "recipe", "variant", "dataset", "normal")  # to the left; numbers to the right
DIGITS = {"auroc": 4, "auroc_low": 4, "auroc_high": 4, "average_precision": 4, "train_seconds": 1}


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("csv", None, "Also write the table to this file, with all digits.")
    flags.DEFINE_string("roc", None, "Also draw the ROC curves of all runs into this .png file.")


class ScoredRun(NamedTuple):
    """What is compared of a run.

    Args:
        row: The cells of its line, those of the CSV file; None is blank.
        test_set: Equal for runs that have scored the same images with the same true labels.
        scores: float64 `(n,)`, higher means more anomalous.
        true_labels: int32 `(n,)`, 1 for anomalous, 0 for normal. None if unknown.
    """

    row: dict[str, Any]
    test_set: Hashable
    scores: np.ndarray
    true_labels: np.ndarray | None


def find_runs(folders: Iterable[Path]) -> list[Path]:
    """Finds the folders of runs in or below folders; unfinished runs are passed over.

    Args:
        folders: The absolute paths of the folders to search.

    Returns:
        Absolute paths, sorted, each once. A folder without a run gives a warning.
    """
    found = set()
    for folder in folders:
        runs = []
        for place, inside, files in os.walk(folder):
            if {CONFIG, METRICS} & {*files}:
                runs.append(Path(place))
                inside.clear()  # what lies within a run is no run
            inside[:] = [name for name in inside if not name.endswith((UNFINISHED, OLD))]
        if not runs:
            warnings.warn(f"No finished run in {folder}", stacklevel=2)
        found.update(runs)
    return sorted(found)


def read_run(run_dir: Path, name: str) -> ScoredRun:
    """Reads a finished run.

    Args:
        run_dir: Its folder.
        name: Its name in the table.

    Returns:
        The run; in its row, `test_set` is blank.

    Raises:
        InputError: A file is damaged.
        OSError: A file is missing.
    """
    config = _read_entries(run_dir / CONFIG, CONFIG_KEYS)
    metrics = _read_entries(run_dir / METRICS, METRICS_KEYS)
    with reading(run_dir / SCORES, TRAIN_AGAIN):
        columns = read_csv(run_dir / SCORES)
        ids, truth = next(iter(columns.values())), columns["true_label"]
        scores, labels = np.array(columns["score"], float), np.array(columns["label"], int)
        true_labels = None if "" in truth else np.array(truth, "int32")
        found = len(scores), None if true_labels is None else int(true_labels.sum())
        expected = metrics["n_test"], metrics["n_anomalous"]
        if found != expected:
            raise ValueError(f"(images, anomalous) are {found}, not {expected} as in {METRICS}")
        auroc, low, high = metrics["auroc"], None, None
        if true_labels is not None and auroc is not None:
            low, high = auroc_interval(scores, true_labels)
    counts = count_labels(labels, true_labels)
    row = {
        "run": name,
        "recipe": config["recipe"],
        "variant": config["variant"],
        "dataset": config["dataset"],
        "normal": config["normal_name"],
        "test_set": None,
        "n_train": metrics["n_train"],
        "auroc": auroc,
        "auroc_low": low,
        "auroc_high": high,
        "average_precision": metrics["average_precision"],
        "false_alarms": None if true_labels is None else counts[0][1],
        "missed": None if true_labels is None else counts[1][0],
        "train_seconds": metrics["train_seconds"],
    }
    # An index names another image in another data set or protocol.
    test_set = config["dataset"], config["protocol"], frozenset(zip(ids, truth, strict=True))
    return ScoredRun(row, test_set, scores, true_labels)


def _read_entries(path, keys):
    with reading(path, TRAIN_AGAIN):
        content = read_json(path)
        return {key: content[key] for key in keys}


def sort_runs(runs: Iterable[ScoredRun]) -> list[ScoredRun]:
    """Sorts runs by data set, normal class and falling AUROC, and numbers their test sets from 1.

    Args:
        runs: The runs; their rows get `test_set`.

    Returns:
        The runs in the order of the table.
    """

    def key(run):
        row = run.row
        normal = row["normal"].zfill(9) if row["normal"].isdigit() else row["normal"]
        falling = 1 if row["auroc"] is None else -row["auroc"]
        return row["dataset"], normal, falling, row["run"]

    ordered = sorted(runs, key=key)
    numbers: dict[Hashable, int] = {}
    for run in ordered:
        run.row["test_set"] = numbers.setdefault(run.test_set, len(numbers) + 1)
    return ordered


def format_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Aligns rows under the heads of their columns.

    Args:
        rows: The rows of `ScoredRun`s.

    Returns:
        The lines.
    """
    lines = [HEADS]
    for row in rows:
        cells = {key: _format(value, DIGITS.get(key)) for key, value in row.items()}
        low, high = cells["auroc_low"], cells["auroc_high"]
        lines.append({**cells, "interval": low and f"{low}-{high}"})
    widths = {key: max(len(line[key]) for line in lines) for key in HEADS}
    return [
        "  ".join(
            line[key].ljust(width) if key in TEXTS else line[key].rjust(width)
            for key, width in widths.items()
        ).rstrip()
        for line in lines
    ]


def _format(value, digits):
    if value is None:
        return ""
    return str(value) if digits is None else f"{value:.{digits}f}"


def describe_test_sets(runs: Sequence[ScoredRun]) -> str:
    """Says in a line which runs have scored the same test images."""
    numbers = [run.row["test_set"] for run in runs]
    if len(set(numbers)) == 1:
        return f"Test images: the same in all runs, {len(runs[0].scores)}."
    counts = (f"{i} ({numbers.count(i)} of the runs)" for i in sorted(set(numbers)))
    return f"Only runs on the same test images compare: test set {', '.join(counts)}."


def write_rocs(path: str, runs: Sequence[ScoredRun], plots: ModuleType) -> None:
    """Draws the ROC curves of runs with an AUROC.

    Args:
        path: The .png file.
        runs: The runs; `test_set` of their rows is known.
        plots: The module `ede_keras.evaluation.plots`.

    Raises:
        InputError: No run has an AUROC.
    """
    several = len({run.row["test_set"] for run in runs}) > 1
    scored = {
        run.row["run"] + (f", test set {run.row['test_set']}" if several else ""): (
            run.scores,
            run.true_labels,
        )
        for run in runs
        if run.row["auroc"] is not None
    }
    if not scored:
        raise InputError(
            "--roc needs a run whose test images have true labels of both classes; leave it out. "
            f"Received: {len(runs)} without"
        )
    with atomic_path(path) as temporary:
        plots.plot_rocs(scored).savefig(temporary, dpi=120)


def import_plots() -> ModuleType:
    """Imports the module that draws, which is slow.

    Raises:
        InputError: matplotlib is missing, or `--roc` is not the name of a PNG file.
    """
    if not FLAGS.roc.endswith(".png"):
        raise InputError(f"--roc must be a file that ends in .png. Received: {FLAGS.roc}")
    try:
        from ede_keras.evaluation import plots
    except ImportError as error:
        raise InputError(
            f"--roc needs matplotlib: pip install 'ede-keras[report]'. Received: {error}"
        ) from error
    return plots


def main(argv: list[str]) -> None:
    """Compares the runs below the folders that the arguments name."""
    # Before the work, not after it.
    plots = import_plots() if FLAGS.roc else None
    folders = [Path(os.path.abspath(os.path.expanduser(word))) for word in argv[1:] or ["runs"]]
    found = find_runs(folders)
    base = Path(os.path.commonpath(folders))
    if base in found:
        base = base.parent
    runs = []
    for run_dir in found:
        name = run_dir.relative_to(base).as_posix()
        try:
            runs.append(read_run(run_dir, name))
        except (InputError, OSError) as error:
            warnings.warn(f"Left out {name}: {error}", stacklevel=2)
    if not runs:
        raise InputError(
            "Expected folders with finished runs of train.py in or below them. "
            f"Received: {', '.join(argv[1:]) or 'no folder, and no run below runs/'}"
        )
    runs = sort_runs(runs)
    rows = [run.row for run in runs]
    print(*format_table(rows), describe_test_sets(runs), sep="\n")
    if FLAGS.csv:
        write_csv(FLAGS.csv, {key: [row[key] for row in rows] for key in rows[0]})
    if plots:
        write_rocs(FLAGS.roc, runs, plots)


def run() -> None:
    """Runs the command."""
    define_flags()
    command.run(main, words=True)


if __name__ == "__main__":
    run()
