"""Scores the test set of a finished run again, or any other images, with the run's model.

python evaluate.py --run_dir=runs/digits/2/0
python evaluate.py --run_dir=runs/digits/2/0 --contamination=0.01
python evaluate.py --run_dir=runs/parts/good/0 --dataset=path/to/new_images
"""

import os

# Before TensorFlow comes in: fewer of its messages, and the faster kernels on any CPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from pathlib import Path

import numpy as np
from absl import flags

from ede_keras import command
from ede_keras.datasets import load_dataset
from ede_keras.errors import InputError
from ede_keras.files import read_csv, reading
from ede_keras.protocols import whole_set
from ede_keras.runs import TRAIN_AGAIN, load_run, load_split

flags.DEFINE_string("run_dir", None, "A finished run, as train.py wrote it.", required=True)
flags.DEFINE_string("dataset", None, "Other images, labelled or not: a name or a path.")
flags.DEFINE_string("data_dir", None, "Where a built-in set lies, if it has moved.")
flags.DEFINE_float("omega1", None, "omega1 of Equation (8), instead of the run's.")
flags.DEFINE_float("contamination", None, "Share of normal images that may be called anomalous.")
flags.DEFINE_string("output_dir", None, "Folder to write to; by default the run's.")

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


def main(argv):
    del argv
    run_dir = Path(FLAGS.run_dir).expanduser()
    config, metrics, model = load_run(run_dir)
    command.set_determinism(config["seed"], config["deterministic"])
    model = redecide(model, run_dir, metrics["n_val"])
    if FLAGS.dataset is None:
        stem = "evaluation"
        split = load_split(config, FLAGS.data_dir, model.image_shape)
        images, true_labels, ids = split.x_test, split.y_test, split.test_ids
    else:
        dataset = load_dataset(FLAGS.dataset, FLAGS.data_dir, model.image_shape, need_labels=False)
        stem = f"evaluation-{dataset.name}"
        images, true_labels, ids = whole_set(dataset, config["normal"], config["normal_name"])
        if true_labels is None:
            print(
                f"Nothing says which images of {dataset.name} are normal, such as a class named "
                f"{config['normal_name']!r}: true labels stay blank, and there are no metrics."
            )
    output_dir = Path(FLAGS.output_dir or run_dir).expanduser()
    output_dir.mkdir(parents=True, exist_ok=True)
    if not os.access(output_dir, os.W_OK):
        raise InputError(
            f"The folder to write to must be writable; choose another by --output_dir. "
            f"Received: {output_dir}"
        )
    scored = command.score_set(model, images)
    metrics = command.write_scores(
        output_dir / f"{stem}.json",
        output_dir / f"{stem}.csv",
        ids,
        true_labels,
        scored,
        model,
        {name: metrics[name] for name in ("train_seconds", "n_train", "n_val")},
    )
    command.print_table(metrics, output_dir / f"{stem}.csv")


if __name__ == "__main__":
    command.run(main)
