"""Scores the test set of a finished run again, or any other images, with the run's model or with
one that TF Serving serves.

python evaluate.py --run_dir=runs/digits/2/0
python evaluate.py --run_dir=runs/digits/2/0 --contamination=0.01
python evaluate.py --run_dir=runs/parts/good/0 --dataset=path/to/new_images
python evaluate.py --server=localhost:8500 --dataset=path/to/new_images
"""

import os
from pathlib import Path

import numpy as np
from absl import flags

from ede_keras.cli import common
from ede_keras.cli.runs import TRAIN_AGAIN, load_run, load_split
from ede_keras.data.datasets import list_folder, load_dataset
from ede_keras.data.folders import LAYOUTS, NORMAL_NAMES
from ede_keras.data.protocols import whole_set
from ede_keras.errors import InputError
from ede_keras.serving.client import ScoringClient
from ede_keras.utils.files import read_csv, reading

flags.DEFINE_string("run_dir", None, "A finished run, as train.py wrote it.")
flags.DEFINE_string(
    "server",
    None,
    "In place of a run: TF Serving's host:port, for gRPC, or http://host:port, for REST.",
)
flags.DEFINE_string("model_name", "ede", "The server's name of the model, with --server.")
flags.DEFINE_string("dataset", None, "Other images, labelled or not: a name or a path.")
flags.DEFINE_string("data_dir", None, "Where a built-in set lies, if it has moved.")
flags.DEFINE_enum("layout", None, LAYOUTS, "Of a folder; by default recognised.")
flags.DEFINE_bool("strict", False, "Refuses a folder with damaged images, left out otherwise.")
flags.DEFINE_float("omega1", None, "omega1 of Equation (8), instead of the run's.")
flags.DEFINE_float("contamination", None, "Share of normal images that may be called anomalous.")
flags.DEFINE_bool("report", False, "Writes a page to look at, too: curves, images, mistakes.")
flags.DEFINE_string("output_dir", None, "Folder to write to; by default the run's, or this one.")

FLAGS = flags.FLAGS


def redecide(model, run_dir, n_val):
    """The model with the flags' ω1 and contamination, if there are any."""
    if FLAGS.omega1 is None and FLAGS.contamination is None:
        return model
    path = run_dir / "calibration.csv"
    with reading(path, TRAIN_AGAIN):
        terms = {name: np.array(column, "float32") for name, column in read_csv(path).items()}
        n = len(next(iter(terms.values())))
        if n != n_val:
            raise ValueError(f"terms of {n} images, not of {n_val}")
    return model.redecide(terms, FLAGS.omega1, FLAGS.contamination)


def read_set(config, model, output_dir):
    """What is to be scored: `(stem of the files to write, folder or None, images, true labels,
    ids)`; the run's test set, or `--dataset`, whose damaged files are listed."""
    if FLAGS.dataset is None:
        for flag in ("layout", "strict"):
            if FLAGS[flag].present:
                raise InputError(f"--{flag} goes with --dataset, a folder; leave it out.")
        split = load_split(config, FLAGS.data_dir, model.image_shape)
        folder = config["dataset_path"]
        return "evaluation", folder, split.x_test, split.y_test, split.test_ids
    dataset = load_dataset(
        FLAGS.dataset,
        FLAGS.data_dir,
        model.image_shape,
        need_labels=False,
        strict=FLAGS.strict,
        layout=FLAGS.layout,
        verbose=common.bars(),
    )
    common.tell_layout(dataset)
    images, true_labels, ids = whole_set(dataset, config["normal"], config["normal_name"])
    if true_labels is None:
        say_unlabelled(dataset.name, repr(config["normal_name"]))
    stem = f"evaluation-{dataset.name}"
    common.write_damaged(output_dir / f"{stem}-damaged.csv", dataset)
    return stem, dataset.source, images, true_labels, ids


def evaluate_run():
    """Scores a set by the run's model."""
    if FLAGS["model_name"].present:
        raise InputError("--model_name goes with --server; leave it out with --run_dir.")
    if FLAGS.report:
        from ede_keras.evaluation import (
            report,  # heavy, and may be missing: said before the work begins
        )
    run_dir = Path(FLAGS.run_dir).expanduser()
    config, metrics, model = load_run(run_dir)
    common.set_determinism(config["seed"], config["deterministic"])
    model = redecide(model, run_dir, metrics["n_val"])
    output_dir = make_output_dir(run_dir)
    stem, folder, images, true_labels, ids = read_set(config, model, output_dir)
    scored = scores, labels, _ = common.score_set(model, images)
    facts = {name: metrics[name] for name in ("train_seconds", "n_train", "n_val")}
    facts |= common.decision(model)
    facts |= common.score_maps(model, images, true_labels, ids, folder)
    metrics = write(output_dir / stem, ids, true_labels, scored, facts)
    if FLAGS.report:
        path = output_dir / f"{stem}.html"
        shown = report.Scored(images, ids, scores, labels, true_labels)
        report.write_report(path, model, shown, metrics, config)
        print(f"{'report':<22}{path}")


def evaluate_server():
    """Scores the folder `--dataset` by the model of `--server`."""
    if FLAGS.dataset is None or not os.path.isdir(Path(FLAGS.dataset).expanduser()):
        raise InputError(
            f"--server scores a folder of images, --dataset=FOLDER. Received: {FLAGS.dataset}"
        )
    for flag in ("data_dir", "omega1", "contamination", "report", "strict"):
        if FLAGS[flag].present:
            raise InputError(f"--{flag} goes with a run; leave it out with --server.")
    dataset = list_folder(FLAGS.dataset, FLAGS.layout)
    common.tell_layout(dataset)
    names = dataset.class_names.values()
    normal_name = next((name for name in names if name.lower() in NORMAL_NAMES), "")
    files, true_labels, ids = whole_set(dataset, None, normal_name)
    if true_labels is None:
        say_unlabelled(dataset.name, " or ".join(NORMAL_NAMES))
    output_dir = make_output_dir(".")
    with ScoringClient(FLAGS.server, FLAGS.model_name) as client:
        scored, threshold = common.score_by_server(client, list(files))
    path = output_dir / f"evaluation-{dataset.name}"
    write(path, ids, true_labels, scored, {"threshold": threshold})


def say_unlabelled(name, normal_name):
    print(
        f"Nothing says which images of {name} are normal, such as a class named {normal_name}: "
        "true labels stay blank, and there are no metrics."
    )


def make_output_dir(default):
    output_dir = Path(FLAGS.output_dir or default).expanduser()
    output_dir.mkdir(parents=True, exist_ok=True)
    if not os.access(output_dir, os.W_OK):
        raise InputError(
            f"The folder to write to must be writable; choose another by --output_dir. "
            f"Received: {output_dir}"
        )
    return output_dir


def write(path, ids, true_labels, scored, facts):
    """Writes `path`.json and `path`.csv, says what it came to, and returns the metrics."""
    json_path, csv_path = (path.with_name(path.name + suffix) for suffix in (".json", ".csv"))
    metrics = common.write_scores(json_path, csv_path, ids, true_labels, scored, facts)
    common.print_table(metrics, csv_path)
    return metrics


def main(argv):
    del argv
    if (FLAGS.run_dir is None) == (FLAGS.server is None):
        raise InputError("Give --run_dir, a finished run, or --server, an address; one of them.")
    evaluate_server() if FLAGS.server else evaluate_run()


def run():
    """Runs the command."""
    common.run(main)
