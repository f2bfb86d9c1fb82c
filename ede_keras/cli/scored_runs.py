"""Finished runs as `ede-compare` and its readers need them: a row of facts, scores and labels."""

import os
import warnings
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ede_keras.cli.runs import CONFIG, METRICS, OLD, SCORES, TRAIN_AGAIN, UNFINISHED
from ede_keras.evaluation.metrics import auroc_interval, count_labels
from ede_keras.utils.files import read_csv, read_json, reading

CONFIG_KEYS = ("recipe", "variant", "dataset", "normal_name", "protocol")
METRICS_KEYS = ("n_train", "n_test", "n_anomalous", "auroc", "average_precision", "train_seconds")


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
    metrics = _read_entries(run_dir / METRICS, METRICS_KEYS, patches_found=())
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
        "patch_auroc": _mean(metrics["patches_found"], "auroc"),
        "patch_pixel_auroc": _mean(metrics["patches_found"], "pixel_auroc"),
        "train_seconds": metrics["train_seconds"],
    }
    # An index names another image in another data set or protocol.
    test_set = config["dataset"], config["protocol"], frozenset(zip(ids, truth, strict=True))
    return ScoredRun(row, test_set, scores, true_labels)


def _read_entries(path, keys, **newer):
    """Entries of a JSON file. `newer` ones, with their defaults, may be missing from older runs."""
    with reading(path, TRAIN_AGAIN):
        content = {**newer, **read_json(path)}
        return {key: content[key] for key in (*keys, *newer)}


def _mean(patches, key):
    """The mean over all sizes of patches; None for a run that pasted none."""
    return float(np.mean([each[key] for each in patches])) if patches else None


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
