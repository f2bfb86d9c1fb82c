"""Draws what a run's detector sees: images, anomaly maps, and the scores of the test set.

  python -m benchmarks.picture --run_dir=runs/fmnist/2/0 --output=docs/result.png

Needs the extra `.[plots]`. The images are the first of each kind in the test set, not chosen.
"""

from pathlib import Path

import keras
import matplotlib
import numpy as np
from absl import app, flags

import ede_keras  # noqa: F401  registers the classes that a saved model is made of
from ede_keras.cli.runs import load_split
from ede_keras.evaluation.plots import ANOMALOUS, NORMAL
from ede_keras.utils.files import read_json

matplotlib.use("Agg")
import matplotlib.pyplot as plt

flags.DEFINE_string("run_dir", None, "A finished run.", required=True)
flags.DEFINE_string("data_dir", None, "Where a built-in set lies.")
flags.DEFINE_string("output", "docs/result.png", "The picture.")

FLAGS = flags.FLAGS
N_EACH = 6


def draw_images(axes, images, scored, true_labels):
    """Images above, their maps below; the frame's colour is the verdict."""
    for i, (top, bottom) in enumerate(axes.T):
        top.imshow(images[i].squeeze(), cmap="gray", vmin=0, vmax=255)
        bottom.imshow(scored["anomaly_map"][i], cmap="magma", vmin=0, vmax=1.5)
        verdict = ANOMALOUS if scored["label"][i] else NORMAL
        top.set_title(f"{scored['score'][i]:.2f}", color=verdict, fontsize=9)
        for axis in (top, bottom):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set(color=ANOMALOUS if true_labels[i] else NORMAL, linewidth=2)


def draw_scores(axis, scores, true_labels, threshold):
    bins = np.linspace(scores.min(), np.quantile(scores, 0.995), 50)
    for label, name, colour in ((0, "normal", NORMAL), (1, "anomalous", ANOMALOUS)):
        axis.hist(scores[true_labels == label], bins, alpha=0.6, color=colour, label=name)
    axis.axvline(threshold, color="black", linewidth=1, linestyle="--", label="threshold")
    axis.set(xlabel="anomaly score", yticks=[])
    axis.spines[["top", "left", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)


def main(argv):
    del argv
    run_dir = Path(FLAGS.run_dir)
    config = read_json(run_dir / "config.json")
    auroc = read_json(run_dir / "metrics.json")["auroc"]
    model = keras.saving.load_model(run_dir / "model.keras")
    split = load_split(config, FLAGS.data_dir, model.image_shape)
    scored = model.predict(split.x_test, batch_size=256, verbose=0)
    shown = np.concatenate([np.flatnonzero(split.y_test == label)[:N_EACH] for label in (0, 1)])

    figure = plt.figure(figsize=(11, 2.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[2.6, 1])
    axes = left.subplots(2, 2 * N_EACH)
    draw_images(
        axes,
        split.x_test[shown],
        {name: value[shown] for name, value in scored.items()},
        split.y_test[shown],
    )
    left.suptitle(
        f"{config['dataset']}, normal class {config['normal_name']!r} (blue frames): "
        "image, score, anomaly map",
        fontsize=10,
    )
    draw_scores(right.subplots(), scored["score"], split.y_test, model.threshold)
    right.suptitle(f"test set, AUROC {auroc:.3f}", fontsize=10)
    figure.savefig(FLAGS.output, dpi=110)


if __name__ == "__main__":
    app.run(main)
