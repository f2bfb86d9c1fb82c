"""Two ways to fool oneself, measured: what they would add to a result, never a result.

  python -m benchmarks.audit --dataset=mnist --protocol=official --classes=2,8

Trains as train.py does and scores the same weights in three ways: as the tables do; with the batch
statistics of test batches that hold normal or anomalous images alone, for a batch normalization
left in training mode reads the labels off its neighbours; and at the epoch that the test set's own
AUROC would have chosen. A line that is there is not made again. `python -m benchmarks.accuracy
--report` puts them into README.
"""

import time

import keras
import numpy as np
from absl import app, flags
from sklearn.metrics import average_precision_score, roc_auc_score

import ede_keras
from benchmarks import machine, tables
from ede_keras.cli import common
from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.models import recipes

flags.DEFINE_string("dataset", "digits", "As for train.py.")
flags.DEFINE_string("data_dir", None, "As for train.py.")
flags.DEFINE_string("protocol", None, "As for train.py.")
flags.DEFINE_list("classes", ["2"], "Normal classes, integer labels.")
flags.DEFINE_integer("seed", 0, "As for train.py.")
flags.DEFINE_enum("recipe", "default", recipes.RECIPES, "As for train.py.")
flags.DEFINE_integer("epochs", None, "As for train.py.", lower_bound=1)
flags.DEFINE_string("results", str(tables.RESULTS / "audit/audit.jsonl"), "Lines go here.")

FLAGS = flags.FLAGS
TEST_BATCH_SIZE = 64


class TestAuroc(keras.callbacks.Callback):
    """The AUROC on the test set after every epoch: what nobody may choose an epoch by."""

    def __init__(self, split):
        super().__init__()
        self.split = split
        self.aurocs = []

    def on_epoch_end(self, epoch, logs=None):
        self.model.calibrate(self.split.x_train, held_out=self.split.x_val)
        self.scores, _ = self.model.combine_terms(self.model.compute_terms(self.split.x_test))
        self.aurocs.append(float(roc_auc_score(self.split.y_test, self.scores)))


def score_by_batch_statistics(model, split):
    """AUROC of the test images, sorted by label, scored in training mode batch by batch."""
    order = np.argsort(split.y_test, kind="stable")
    scores = []
    for begin in range(0, len(order), TEST_BATCH_SIZE):
        x = model.preprocessor(split.x_test[order[begin : begin + TEST_BATCH_SIZE]])
        terms, x2 = model.score_terms(x, model.encoder1(x, training=True), training=True)
        recalled, maps = model.space.recall(x)
        terms |= {**recalled, **model.space.draw(x, x2, maps)[1]}
        if model.pretext:
            terms.update(model.pretext_terms(x, training=True)[0])
        scores.append(model.combine_terms(terms)[0])
    return float(roc_auc_score(split.y_test[order], np.concatenate(scores)))


def audit(dataset, run):
    """The line of a run."""
    began = time.perf_counter()
    split = make_split(dataset, FLAGS.protocol, run["normal"], FLAGS.seed)
    common.set_determinism(FLAGS.seed, deterministic=True)
    watcher = TestAuroc(split)
    model, _ = ede_keras.fit_recipe(
        FLAGS.recipe,
        split.x_train,
        seed=FLAGS.seed,
        callbacks=[watcher],
        verbose=2,
        epochs=FLAGS.epochs,
    )
    image_shape, n_train = split.x_train.shape[1:], len(split.x_train)
    _, training = recipes.get_recipe(FLAGS.recipe, image_shape, n_train, epochs=FLAGS.epochs)
    best = int(np.argmax(watcher.aurocs))
    return {
        **run,
        **model.get_config(),
        **training.to_dict(),
        "auroc": watcher.aurocs[-1],
        "average_precision": float(average_precision_score(split.y_test, watcher.scores)),
        "auroc_by_test_epoch": watcher.aurocs[best],
        "test_epoch": best + 1,
        "auroc_by_batch_statistics": score_by_batch_statistics(model, split),
        "seconds": round(time.perf_counter() - began, 1),
        **machine.versions(),
    }


def main(argv):
    del argv
    dataset = load_dataset(FLAGS.dataset, FLAGS.data_dir)
    protocol = FLAGS.protocol or dataset.default_protocol
    for normal in map(int, FLAGS.classes):
        values = (dataset.name, protocol, normal, FLAGS.seed, FLAGS.recipe, "full")
        run = dict(zip(tables.KEY, values, strict=True))
        if not tables.find_line(FLAGS.results, run):
            tables.append_line(FLAGS.results, audit(dataset, run))


if __name__ == "__main__":
    app.run(main)
