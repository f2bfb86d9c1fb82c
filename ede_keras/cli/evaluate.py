"""Scores the test set of a finished run again, or other images.

The model is that of the run, or one that TF Serving serves.

python evaluate.py --run_dir=runs/digits/2/0
python evaluate.py --run_dir=runs/digits/2/0 --contamination=0.01
python evaluate.py --run_dir=runs/parts/good/0 --dataset=path/to/new_images
python evaluate.py --server=localhost:8500 --dataset=path/to/new_images
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from ede_keras.cli import common, server_scoring, watch
from ede_keras.cli.images_to_score import NAMED, load_images_to_score, print_unlabelled
from ede_keras.cli.runs import load_run, read_calibration
from ede_keras.cli.verdicts import ANOMALY_FOUND, print_verdicts, sort_by_score
from ede_keras.data.datasets import list_folder
from ede_keras.data.folder_images import leave_out
from ede_keras.data.folders import LAYOUTS
from ede_keras.data.images.decoding import MAX_VALUE
from ede_keras.data.protocols import whole_set
from ede_keras.data.subfolders import NORMAL_NAMES, is_normal_name
from ede_keras.errors import InputError
from ede_keras.evaluation import drift
from ede_keras.models.detector import AnomalyDetector
from ede_keras.serving.client import ScoringClient
from ede_keras.utils.files import StrPath

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("run_dir", None, "Folder of a finished run of train.py.")
    flags.DEFINE_string(
        "server",
        None,
        "Address of TF Serving, instead of --run_dir: host:port for gRPC, http://host:port for "
        "REST.",
    )
    flags.DEFINE_string("model_name", "ede", "Name of the model on the server, with --server.")
    flags.DEFINE_multi_string(
        "dataset",
        None,
        "Other images to score, labelled or not: a built-in name, or the path of a folder, a list "
        "(.csv) or an .npz file. Or images: a path, a pattern such as 'parts/*.png', or several of "
        "them, each with the flag.",
    )
    flags.DEFINE_string(
        "normal", None, "Name of the normal class of --dataset. Defaults to that of the run."
    )
    flags.DEFINE_bool(
        "all_normal",
        False,
        "Says that all images of --dataset are normal: false alarms are counted, and their scores "
        "are compared with the calibration's.",
    )
    flags.DEFINE_string("data_dir", None, "Folder of a built-in data set, if it has moved.")
    flags.DEFINE_enum(
        "layout", None, LAYOUTS, "Layout of the folder --dataset. Detected by default."
    )
    flags.DEFINE_bool(
        "strict", False, "Reject a folder if any file in it is left out, for whatever reason."
    )
    flags.DEFINE_float("omega1", None, "omega1 of Equation (8). Defaults to the run's value.")
    flags.DEFINE_float(
        "contamination",
        None,
        "Share of held-out normal images that may score above the threshold. Defaults to the "
        "run's value.",
    )
    flags.DEFINE_string(
        "watch",
        None,
        "Folder to watch, instead of --dataset: scores its images and those that arrive, each "
        "once, until Ctrl+C. The same command goes on where it stopped.",
    )
    flags.DEFINE_bool("sort", False, "Writes the most anomalous image first into the CSV file.")
    flags.DEFINE_bool(
        "fail_on_anomaly",
        False,
        f"Ends with exit status {ANOMALY_FOUND} if an image is labelled anomalous.",
    )
    flags.DEFINE_bool("report", False, "Also write an HTML report: curves, images and mistakes.")
    flags.DEFINE_string(
        "output_dir",
        None,
        "Output folder. Defaults to --run_dir, or with --server to the current folder.",
    )


def apply_decision_flags(model: AnomalyDetector, run_dir: Path, n_val: int) -> AnomalyDetector:
    """Applies `--omega1` and `--contamination` to a model.

    Args:
        model: The model of the run.
        run_dir: Folder of the run.
        n_val: Number of held-out images of the run.

    Returns:
        A new model, or `model` if neither flag is set.

    Raises:
        InputError: The run's `calibration.csv` is damaged, or a flag is out of range.
    """
    if FLAGS.omega1 is None and FLAGS.contamination is None:
        return model
    terms = read_calibration(run_dir, n_val)
    return model.redecide(terms, FLAGS.omega1, FLAGS.contamination)


def evaluate_run() -> None:
    """Scores images with the model of `--run_dir`."""
    common.refuse_flags(("model_name",), "works only with --server; leave it out with --run_dir")
    if FLAGS.report:
        # Slow to import, and its packages may be missing: fail now, not after the scoring.
        from ede_keras.evaluation import report
    run_dir = Path(FLAGS.run_dir).expanduser()
    config, metrics, model = load_run(run_dir)
    common.set_determinism(config["seed"], config["deterministic"])
    model = apply_decision_flags(model, run_dir, metrics["n_val"])
    output_dir = make_output_dir(run_dir)
    if FLAGS.watch:
        white = config.get("max_value") or MAX_VALUE
        watch.watch_by_model(Path(FLAGS.watch), output_dir, model, white)
        return
    to_score = load_images_to_score(config, model, output_dir)
    stem, images, true_labels, ids, drawn, named = to_score
    masks = drawn.select(ids, true_labels) if drawn and true_labels is not None else None
    scored, more = common.score_set(model, images, true_labels, masks)
    if FLAGS.dataset and true_labels is not None:
        more |= check_drift(model, run_dir, metrics["n_val"], scored[0][true_labels == 0])
    facts = {name: metrics[name] for name in ("train_seconds", "n_train", "n_val")}
    facts |= {**common.decision(model, metrics["n_val"]), **more}
    metrics = write_results(output_dir / stem, ids, true_labels, scored, facts, named, model)
    if FLAGS.report:
        path = output_dir / f"{stem}.html"
        scores, labels, _ = scored
        shown = report.ScoredImages(images, ids, scores, labels, true_labels)
        report.write_report(path, model, shown, metrics, config)
        print(f"{'report':<22}{path}")
    end(scored[1])


def check_drift(
    model: AnomalyDetector, run_dir: Path, n_val: int, scores: np.ndarray
) -> dict[str, Any]:
    """The metrics that say whether scores of normal images look like the calibration's."""
    if len(scores) < drift.LEAST_IMAGES:
        return {}
    calibration, _ = model.combine_terms(read_calibration(run_dir, n_val))
    return {"drift": drift.find_drift(calibration, scores)._asdict()}


def evaluate_server() -> None:
    """Scores the image files of `--dataset` with the model of `--server`."""
    if FLAGS.watch:
        watch.watch_by_server(
            Path(FLAGS.watch), make_output_dir("."), FLAGS.server, FLAGS.model_name
        )
        return
    if FLAGS.dataset is None:
        raise InputError(
            "--server needs an existing folder of images, a list or an image file; pass it as "
            "--dataset=FOLDER. Received: no --dataset"
        )
    run_flags = ("data_dir", "omega1", "contamination", "report")
    common.refuse_flags(run_flags, "works only with --run_dir; leave it out with --server")
    dataset = list_folder(FLAGS.dataset, FLAGS.layout, FLAGS.normal)
    names = dataset.class_names.values()
    normal_name = FLAGS.normal or next((name for name in names if is_normal_name(name)), "")
    files, true_labels, ids = whole_set(dataset, normal_name, normal_name)
    named = dataset.layout in NAMED
    if true_labels is None and not named:
        print_unlabelled(dataset.name, " or ".join(NORMAL_NAMES))
    output_dir = make_output_dir(".")
    if FLAGS.strict:  # before the first request, although every file is then read twice
        problems = server_scoring.find_problems(list(files))
        leave_out(dataset, {str(ids[i]): reason for i, reason in problems.items()}, strict=True)
    with ScoringClient(FLAGS.server, FLAGS.model_name) as client:
        scored, threshold, problems = server_scoring.score_by_server(client, list(files))
    dataset = leave_out(
        dataset, {str(ids[i]): reason for i, reason in problems.items()}, FLAGS.strict
    )
    common.print_summary(dataset)
    read = np.array([i not in problems for i in range(len(ids))])
    true_labels = None if true_labels is None else true_labels[read]
    path = output_dir / f"evaluation-{dataset.name}"
    outputs = [path.with_name(f"{path.name}-{name}") for name in ("data.json", "left_out.csv")]
    common.write_summary(dataset, *outputs)
    write_results(path, ids[read], true_labels, scored, {"threshold": threshold}, named)
    end(scored[1])


def make_output_dir(default: StrPath) -> Path:
    """Creates the folder `--output_dir`, or `default`, and returns it.

    Raises:
        InputError: The folder is not writable.
    """
    output_dir = Path(FLAGS.output_dir or default).expanduser()
    output_dir.mkdir(parents=True, exist_ok=True)
    if not os.access(output_dir, os.W_OK):
        raise InputError(
            "The output folder must be writable; choose another with --output_dir. "
            f"Received: {output_dir}"
        )
    return output_dir


def write_results(
    path: Path,
    ids: np.ndarray,
    true_labels: np.ndarray | None,
    scored: tuple[np.ndarray, np.ndarray, float],
    facts: Mapping[str, Any],
    named: bool,
    model: AnomalyDetector | None = None,
) -> dict[str, Any]:
    """Writes scores and metrics, and prints the metrics and the verdicts.

    Args:
        path: Path of the output files `<path>.json` and `<path>.csv`.
        ids: Path or index of each image.
        true_labels: int32 `(n,)`, 1 for anomalous, 0 for normal. None if unknown.
        scored: Scores, labels and images per second, as in `common.score_set`.
        facts: Further entries of the metrics; `threshold` is one of them.
        named: As in `ImagesToScore`.
        model: The detector, if it is at hand.

    Returns:
        The metrics.
    """
    json_path, csv_path = (path.with_name(path.name + suffix) for suffix in (".json", ".csv"))
    scores, labels, images_per_second = scored
    in_order = ids, true_labels, scores, labels
    rows = sort_by_score(*in_order) if FLAGS.sort else in_order
    metrics = common.write_scores(
        json_path, csv_path, *rows[:2], (*rows[2:], images_per_second), facts, model
    )
    common.print_table(metrics, csv_path)
    print_verdicts(ids, scores, labels, true_labels, facts["threshold"], named)
    return metrics


def end(labels: np.ndarray) -> None:
    """Ends the command as `--fail_on_anomaly` says."""
    if FLAGS.fail_on_anomaly and labels.any():
        sys.exit(ANOMALY_FOUND)


def main(argv: list[str]) -> None:
    """Scores with the model that the flags name."""
    del argv
    if (FLAGS.run_dir is None) == (FLAGS.server is None):
        received = "neither" if FLAGS.server is None else "both"
        raise InputError(
            "Expected either --run_dir, a finished run, or --server, an address. "
            f"Received: {received}"
        )
    if FLAGS.watch:
        others = "dataset", "normal", "layout", "strict", "sort", "report", "fail_on_anomaly"
        common.refuse_flags(others, "has no effect with --watch; leave it out")
    if FLAGS.server:
        evaluate_server()
    else:
        evaluate_run()


def run() -> None:
    """Runs the command."""
    define_flags()
    common.run(main)
