"""Scores the test set of a finished run again, or other images.

The model is that of the run, or one that TF Serving serves.

python evaluate.py --run_dir=runs/digits/2/0
python evaluate.py --run_dir=runs/digits/2/0 --contamination=0.01
python evaluate.py --run_dir=runs/parts/good/0 --dataset=path/to/new_images
python evaluate.py --server=localhost:8500 --dataset=path/to/new_images
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from ede_keras.cli import common
from ede_keras.cli.runs import TRAIN_AGAIN, find_white_for, load_run, load_split
from ede_keras.data.datasets import list_folder, load_dataset
from ede_keras.data.folder_images import leave_out
from ede_keras.data.folders import LAYOUTS
from ede_keras.data.images.decoding import MAX_VALUE
from ede_keras.data.mask_files import Masks
from ede_keras.data.protocols import whole_set
from ede_keras.data.subfolders import NORMAL_NAMES, is_normal_name
from ede_keras.errors import InputError
from ede_keras.models.detector import AnomalyDetector
from ede_keras.serving.client import ScoringClient
from ede_keras.utils.files import StrPath, read_csv, reading

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
    flags.DEFINE_string(
        "dataset",
        None,
        "Other images to score, labelled or not: a built-in name, or the path of a folder, a list "
        "(.csv), an .npz file or an image.",
    )
    flags.DEFINE_string(
        "normal", None, "Name of the normal class of --dataset. Defaults to that of the run."
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
    flags.DEFINE_bool("report", False, "Also write an HTML report: curves, images and mistakes.")
    flags.DEFINE_string(
        "output_dir",
        None,
        "Output folder. Defaults to --run_dir, or with --server to the current folder.",
    )


class ImagesToScore(NamedTuple):
    """The images to score with the model of a run.

    Args:
        stem: Stem of the output files.
        images: Array `(n, height, width, channels)`, 0 to 255.
        true_labels: int32 `(n,)`, 1 for anomalous, 0 for normal. None if unknown.
        ids: Path relative to the images' folder, or index, of each image.
        masks: The masks of the images, if they have some.
    """

    stem: str
    images: np.ndarray
    true_labels: np.ndarray | None
    ids: np.ndarray
    masks: Masks | None


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
    path = run_dir / "calibration.csv"
    with reading(path, TRAIN_AGAIN):
        terms = {name: np.array(column, "float32") for name, column in read_csv(path).items()}
        n = len(next(iter(terms.values())))
        if n != n_val:
            raise ValueError(f"terms of {n} images, not of {n_val}")
    return model.redecide(terms, FLAGS.omega1, FLAGS.contamination)


def load_images_to_score(
    config: Mapping[str, Any], model: AnomalyDetector, output_dir: Path
) -> ImagesToScore:
    """Loads the run's test set, or `--dataset`, and writes what was read to `output_dir`.

    Args:
        config: The config of the run.
        model: The model of the run.
        output_dir: Folder to write to.

    Raises:
        InputError: The images cannot be used, or a flag does not fit.
    """
    if FLAGS.dataset is None:
        refuse_flags(
            ("layout", "strict", "normal"), "works only with --dataset, a folder; leave it out"
        )
        split = load_split(config, FLAGS.data_dir, model.image_shape)
        shown = split.x_test, split.y_test, split.test_ids, split.masks
        return ImagesToScore("evaluation", *shown)
    dataset = load_dataset(
        FLAGS.dataset,
        FLAGS.data_dir,
        model.image_shape,
        need_labels=False,
        strict=FLAGS.strict,
        layout=FLAGS.layout,
        verbose=common.bars(),
        max_value=find_white_for(config, FLAGS.dataset),
        normal=FLAGS.normal,
    )
    common.print_summary(dataset)
    if dataset.is_folder and dataset.max_value and not config.get("max_value"):
        print(f"  the run has no files of 16 bits, so {MAX_VALUE} is white, as in its export")
    normal_name = FLAGS.normal or config["normal_name"]
    images, true_labels, ids = whole_set(dataset, FLAGS.normal or config["normal"], normal_name)
    if unscored := len(dataset.x_train) + len(dataset.x_test) - len(images):
        print(f"{unscored} images of the training part are not scored")
    if true_labels is None:
        print_unlabelled(dataset.name, repr(normal_name))
    stem = f"evaluation-{dataset.name}"
    names = (f"{stem}-{name}" for name in ("data.json", "left_out.csv"))
    common.write_summary(dataset, *(output_dir / name for name in names))
    return ImagesToScore(stem, images, true_labels, ids, dataset.masks)


def evaluate_run() -> None:
    """Scores images with the model of `--run_dir`."""
    refuse_flags(("model_name",), "works only with --server; leave it out with --run_dir")
    if FLAGS.report:
        # Slow to import, and its packages may be missing: fail now, not after the scoring.
        from ede_keras.evaluation import report
    run_dir = Path(FLAGS.run_dir).expanduser()
    config, metrics, model = load_run(run_dir)
    common.set_determinism(config["seed"], config["deterministic"])
    model = apply_decision_flags(model, run_dir, metrics["n_val"])
    output_dir = make_output_dir(run_dir)
    stem, images, true_labels, ids, drawn = load_images_to_score(config, model, output_dir)
    masks = drawn.select(ids, true_labels) if drawn and true_labels is not None else None
    scored, more = common.score_set(model, images, true_labels, masks)
    facts = {name: metrics[name] for name in ("train_seconds", "n_train", "n_val")}
    facts |= {**common.decision(model), **more}
    metrics = write_results(output_dir / stem, ids, true_labels, scored, facts, model)
    if FLAGS.report:
        path = output_dir / f"{stem}.html"
        scores, labels, _ = scored
        shown = report.ScoredImages(images, ids, scores, labels, true_labels)
        report.write_report(path, model, shown, metrics, config)
        print(f"{'report':<22}{path}")


def evaluate_server() -> None:
    """Scores the image files of `--dataset` with the model of `--server`."""
    if FLAGS.dataset is None:
        raise InputError(
            "--server needs an existing folder of images, a list or an image file; pass it as "
            "--dataset=FOLDER. Received: no --dataset"
        )
    run_flags = ("data_dir", "omega1", "contamination", "report")
    refuse_flags(run_flags, "works only with --run_dir; leave it out with --server")
    dataset = list_folder(FLAGS.dataset, FLAGS.layout, FLAGS.normal)
    names = dataset.class_names.values()
    normal_name = FLAGS.normal or next((name for name in names if is_normal_name(name)), "")
    files, true_labels, ids = whole_set(dataset, normal_name, normal_name)
    if true_labels is None:
        print_unlabelled(dataset.name, " or ".join(NORMAL_NAMES))
    output_dir = make_output_dir(".")
    if FLAGS.strict:  # before the first request, although every file is then read twice
        problems = common.find_problems(files)
        leave_out(dataset, {str(ids[i]): reason for i, reason in problems.items()}, strict=True)
    with ScoringClient(FLAGS.server, FLAGS.model_name) as client:
        scored, threshold, problems = common.score_by_server(client, list(files))
    dataset = leave_out(
        dataset, {str(ids[i]): reason for i, reason in problems.items()}, FLAGS.strict
    )
    common.print_summary(dataset)
    read = np.array([i not in problems for i in range(len(ids))])
    true_labels = None if true_labels is None else true_labels[read]
    path = output_dir / f"evaluation-{dataset.name}"
    outputs = [path.with_name(f"{path.name}-{name}") for name in ("data.json", "left_out.csv")]
    common.write_summary(dataset, *outputs)
    write_results(path, ids[read], true_labels, scored, {"threshold": threshold})


def refuse_flags(names: Iterable[str], reason: str) -> None:
    """Raises an `InputError` with the reason if one of the flags is given."""
    for name in names:
        if FLAGS[name].present:
            raise InputError(f"--{name} {reason}. Received: --{name}={FLAGS[name].value}")


def print_unlabelled(name: str, normal_name: str) -> None:
    """Prints that the true labels of a data set are unknown."""
    print(
        f"{name} does not say which of its images are normal, for example by a class named "
        f"{normal_name}: the true labels stay blank, and there are no metrics."
    )


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
    model: AnomalyDetector | None = None,
) -> dict[str, Any]:
    """Writes scores and metrics, and prints the metrics.

    Args:
        path: Path of the output files `<path>.json` and `<path>.csv`.
        ids: Path or index of each image.
        true_labels: int32 `(n,)`, 1 for anomalous, 0 for normal. None if unknown.
        scored: Scores, labels and images per second, as in `common.score_set`.
        facts: Further entries of the metrics; `threshold` is one of them.
        model: The detector, if it is at hand.

    Returns:
        The metrics.
    """
    json_path, csv_path = (path.with_name(path.name + suffix) for suffix in (".json", ".csv"))
    metrics = common.write_scores(json_path, csv_path, ids, true_labels, scored, facts, model)
    common.print_table(metrics, csv_path)
    return metrics


def main(argv: list[str]) -> None:
    """Scores with the model that the flags name."""
    del argv
    if (FLAGS.run_dir is None) == (FLAGS.server is None):
        received = "neither" if FLAGS.server is None else "both"
        raise InputError(
            "Expected either --run_dir, a finished run, or --server, an address. "
            f"Received: {received}"
        )
    if FLAGS.server:
        evaluate_server()
    else:
        evaluate_run()


def run() -> None:
    """Runs the command."""
    define_flags()
    common.run(main)
