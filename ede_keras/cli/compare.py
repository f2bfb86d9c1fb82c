"""Compares finished runs: a line for each of those below the given folders.

ede-compare
ede-compare runs/digits/2 --csv=digits.csv
ede-compare runs/digits/2/0 runs/digits/2/wide --roc=roc.png

Without a folder it takes runs/. It reads what the runs have written and loads no model. The lines
are sorted by data set, normal class and AUROC. Runs with the same number in column "test set" have
scored the same images; only these compare. The 95% interval of an AUROC is a bootstrap over the
test images: 1,000 resamples of each class by itself, with a fixed seed. It does not cover what
another seed of the training would change. Cells of metrics are blank where the true labels are
unknown or of one class. "patch AUROC" and "patch pixels" need no anomalous image: they say how well
a run sees patches in its held-out normal images, AUROC of scores and of pixels, mean over sizes.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags

from ede_keras.cli import command
from ede_keras.cli.scored_runs import ScoredRun, find_runs, read_run, sort_runs
from ede_keras.errors import InputError
from ede_keras.utils.files import atomic_path, write_csv

FLAGS = flags.FLAGS
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
    "patch_auroc": "patch AUROC",
    "patch_pixel_auroc": "patch pixels",
    "train_seconds": "seconds",
}
TEXTS = ("run", "recipe", "variant", "dataset", "normal")  # to the left; numbers to the right
DIGITS = {
    "auroc": 4,
    "auroc_low": 4,
    "auroc_high": 4,
    "average_precision": 4,
    "patch_auroc": 3,
    "patch_pixel_auroc": 3,
    "train_seconds": 1,
}


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("csv", None, "Also write the table to this file, with all digits.")
    flags.DEFINE_string("roc", None, "Also draw the ROC curves of all runs into this .png file.")


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
