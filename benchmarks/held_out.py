"""Compares rules of how many normal images of a small set are held out for the calibration.

  python -m benchmarks.held_out --data_dir=path/to/sets           # continues where it stopped
  python -m benchmarks.held_out --data_dir=path/to/sets --sizes=20 --recipe=default

Each set is a folder in MVTec AD's layout. Some of its normal images are the small set; others are
new normal images, on which the share of false alarms is measured. Rules:

- half: a tenth, at least 32 and at most half of the images, are held out.
- fifth: a fifth, but at least four and at most half, is held out: the package's own rule for
  fewer than 160 images.
- folds: five models, each without a fifth of the images, score that fifth; a sixth model that
  learns from all of them is calibrated with these terms.

Results go to `benchmarks/results/held_out/held_out.jsonl`; `python -m benchmarks.accuracy --report`
writes their means into the page of results.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import app, flags
from sklearn.metrics import roc_auc_score

import ede_keras
from benchmarks import machine, tables
from ede_keras.cli.train_config import choose_image_shape
from ede_keras.data.datasets import load_dataset
from ede_keras.layers.anomaly_score import normal_quantile
from ede_keras.models.recipes import RECIPES
from ede_keras.utils.hold_out import count_fifth

FOLDS = 5
FLAGS = flags.FLAGS


def define_flags():
    flags.DEFINE_string("data_dir", None, "Folder that holds a folder for each set.")
    flags.DEFINE_list("sets", [], "Names of folders; all by default.")
    flags.DEFINE_list("sizes", ["10", "20", "50", "200"], "Numbers of normal images.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of the choice of images and the training.")
    flags.DEFINE_string("recipe", "features", "Recipe.")
    flags.DEFINE_integer("epochs", None, "Epochs; the recipe's by default.", lower_bound=1)
    flags.DEFINE_string("results", str(tables.RESULTS / "held_out/held_out.jsonl"), "Results file.")


def count_held_out(rule, n):
    """How many of n images a rule without folds holds out."""
    if rule == "half":
        return min(max(n // 10, 32), n // 2)
    return count_fifth(n)


def train(images, held_out, seed):
    """A model trained on images and calibrated with others; and the others' terms."""
    model, _ = ede_keras.fit_recipe(FLAGS.recipe, images, seed=seed, epochs=FLAGS.epochs, verbose=0)
    return model, model.calibrate(images, held_out=held_out)


def split_folds(images) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`(the others, a fifth)` for each fifth of the images."""
    fold = np.arange(len(images)) % FOLDS
    for i in range(FOLDS):
        yield images[fold != i], images[fold == i]


def train_by_rule(rule, images, seed):
    """The calibrated model that a rule gives for a small set, in random order."""
    if rule != "folds":
        n = count_held_out(rule, len(images))
        return train(images[n:], images[:n], seed)[0]
    terms = [train(others, fifth, seed)[1] for others, fifth in split_folds(images)]
    pooled = {name: np.concatenate([part[name] for part in terms]) for name in terms[0]}
    # Calibrated with its own images for all but the scale and the threshold.
    model, _ = train(images, images, seed)
    reliability = model.pretext.reliability(pooled) if model.pretext else {}
    model.anomaly_score.adapt(pooled, reliability)
    model.set_threshold(normal_quantile(model.combine_terms(pooled)[0], model.contamination))
    return model


def measure(run, dataset):
    """Trains by a rule; returns the run's line."""
    normal = np.concatenate([dataset.x_train, dataset.x_test[dataset.y_test == 0]])
    order = np.random.default_rng(run["seed"]).permutation(len(normal))
    few, new = normal[order[: run["n"]]], normal[order[run["n"] :]][:400]
    anomalous = dataset.x_test[dataset.y_test != 0]
    model = train_by_rule(run["rule"], few, run["seed"])
    found = model.predict(np.concatenate([new, anomalous]), verbose=0)
    truth = np.repeat([0, 1], [len(new), len(anomalous)])
    return {
        **run,
        "auroc": roc_auc_score(truth, found["score"]),
        "false_alarms": float(found["label"][truth == 0].mean()),
        "missed": float(1 - found["label"][truth == 1].mean()),
        "n_new": len(new),
        **machine.versions(),
    }


def main(argv):
    del argv
    if FLAGS.data_dir is None:
        raise app.UsageError("Expected --data_dir, a folder that holds a folder for each set.")
    sets = FLAGS.sets or sorted(path.name for path in Path(FLAGS.data_dir).iterdir())
    for name in sets:
        shape, side = choose_image_shape(RECIPES[FLAGS.recipe].get("backbone"), None, None)
        path = Path(FLAGS.data_dir, name)
        dataset = load_dataset(path, image_shape=shape, largest_side=side)
        for seed in map(int, FLAGS.seeds):
            for n in map(int, FLAGS.sizes):
                for rule in tables.HELD_OUT_RULES:
                    run = {"set": name, "recipe": FLAGS.recipe, "n": n, "rule": rule, "seed": seed}
                    if not tables.find_line(FLAGS.results, run):
                        line = measure(run, dataset)
                        tables.append_line(FLAGS.results, line)
                        print(*run.values(), f"AUROC {line['auroc']:.4f}", flush=True)


if __name__ == "__main__":
    define_flags()
    app.run(main)
