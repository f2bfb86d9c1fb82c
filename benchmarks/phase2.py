"""Compares forms of phase 2, with other settings equal, on the data used for tuning.

  python -m benchmarks.phase2 --data_dir=...   # all; continues where it stopped
  python -m benchmarks.phase2 --report         # write the tables and the picture into the page

Only training parts are used, split by `split80`, and washers of `benchmarks.drawn_parts`. Besides
the score, the AUROC of each distance that the networks offer is kept: it shows what carries the
score. Results go to `benchmarks/results/phase2/`.
"""

import dataclasses
import time

import keras
import numpy as np
from absl import app, flags
from sklearn.metrics import roc_auc_score

import ede_keras
from benchmarks import drawn_parts, machine, phase2_forms, phase2_report, tables
from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.models import losses
from ede_keras.models.ede import EDE
from ede_keras.models.variants import AutoEncoder, TwinEDE

# The recipe of each base, and what all its forms have in common. Without a common scale the image
# term of Equation (8) decides alone.
BASES = {
    "no pretext": ("default_no_pretext", {"epochs": 30, "scale_terms": False, "omega1": 0.9}),
    "no pretext, one scale": ("default_no_pretext", {"epochs": 30}),
    "pretext": ("default", {"phase_floor": 0.5}),
}
# Each form's class and arguments; the first two have no phase 2.
FORMS = {
    "none": (TwinEDE, {}),
    "plain autoencoder": (AutoEncoder, {}),
    "printed": (EDE, {"phase2_form": "printed"}),
    "bounded": (EDE, {"phase2_form": "bounded"}),
    "cooperative": (EDE, {"phase2_form": "cooperative"}),
    "restoration": (EDE, {"phase2_form": "restoration"}),
    "balanced": (phase2_forms.Balanced, {}),
    "margin": (phase2_forms.Margin, {}),
    "kept behind": (phase2_forms.KeptBehind, {}),
    "mined": (phase2_forms.Mined, {}),
}
TASKS = (("mnist", 8), ("mnist", 3), ("fmnist", 6), ("cifar10", 2), ("drawn", 40))
RESULTS = tables.RESULTS / "phase2/phase2.jsonl"
PAGE = tables.ROOT / "docs/pages/phase2.md"
PICTURE = PAGE.with_name("phase2-training.png")

FLAGS = flags.FLAGS


def define_flags():
    flags.DEFINE_string("data_dir", None, "Folder of a built-in data set, as for train.py.")
    flags.DEFINE_list("bases", list(BASES), "Bases.")
    flags.DEFINE_list("forms", list(FORMS), "Forms.")
    flags.DEFINE_list("datasets", list(dict(TASKS)), "Data sets.")
    flags.DEFINE_list("seeds", list(map(str, tables.TUNING_SEEDS)), "Seeds.")
    flags.DEFINE_string("results", str(RESULTS), "Results file.")
    flags.DEFINE_bool("report", False, "Write what was measured into the page and stop.")


def load_task(dataset, normal, seed):
    """`(train, held_out, test, true_labels)` of a task; of "drawn", `normal` counts the images."""
    if dataset == "drawn":
        parts = [drawn_parts.draw(normal, seed)[0], drawn_parts.draw(100, 5)[0]]
        parts += [drawn_parts.draw(60, 6 + k, kind)[0] for k, kind in enumerate(drawn_parts.KINDS)]
        n_held_out = normal // 5
        test = np.concatenate(parts[1:])
        return parts[0][n_held_out:], parts[0][:n_held_out], test, np.arange(len(test)) >= 100
    loaded = load_dataset(dataset, FLAGS.data_dir)
    x, y = loaded.x_train, loaded.y_train
    half = len(x) // 2
    halves = {"x_train": x[:half], "y_train": y[:half], "x_test": x[half:], "y_test": y[half:]}
    split = make_split(dataclasses.replace(loaded, **halves), "split80", normal, seed)
    return split.x_train, split.x_val, split.x_test, split.y_test


def find_distances(model, images, size=256):
    """Each distance of a batch of images that the networks offer, `(n,)` by name."""
    found: dict[str, list] = {}
    for start in range(0, len(images), size):
        x = model.prepare(images[start : start + size])
        z = model.encoder1(x, training=False)
        pairs = {}
        for i, decoder in enumerate(model.decoders, 1):
            x_i, z_i = model.regenerate(z, decoder, training=False)
            pairs |= {f"x_x{i}": (x, x_i)}
            if z_i is not None:
                pairs |= {f"z_z{i}": (z, z_i)}
        if len(model.decoders) == 2:
            x2p, z2p = model.regenerate(z_i, model.decoder1, training=False)
            pairs |= {"x_x2p": (x, x2p), "z_z2p": (z, z2p)}
        for name, (a, b) in pairs.items():
            found.setdefault(name, []).append(np.asarray(losses.distance(a, b, model.norm)))
    return {name: np.concatenate(parts) for name, parts in found.items()}


class Watch(keras.callbacks.Callback):
    """Keeps, by epoch, the held-out images' mean distances and the AUROC of the score's first."""

    def __init__(self, held_out, test, true_labels, most=600):
        super().__init__()
        chosen = np.random.default_rng(0).permutation(len(test))[:most]
        self.held_out, self.test, self.true_labels = held_out, test[chosen], true_labels[chosen]
        self.seen = {}

    def on_epoch_end(self, epoch, logs=None):
        """Adds an epoch."""
        distances = find_distances(self.model, self.held_out)
        row = {name: float(d.mean()) for name, d in distances.items()}
        first = "x_x2p" if "x_x2p" in row else "x_x1"
        row["auroc"] = roc_auc_score(self.true_labels, find_distances(self.model, self.test)[first])
        for name, value in row.items():
            self.seen.setdefault(name, []).append(round(value, 5))


def measure(base, form, task, seed):
    """Trains by a form; returns what is kept of it."""
    train, held_out, test, true_labels = task
    recipe, common = BASES[base]
    variant, arguments = FORMS[form]
    given = {**common, **arguments}
    given = {name: v for name, v in given.items() if name not in variant.unused_arguments}
    watch = Watch(held_out, test, true_labels)
    began = time.perf_counter()
    model, _ = ede_keras.fit_recipe(
        recipe, train, variant=variant, seed=seed, callbacks=[watch], verbose=0, **given
    )
    seconds = time.perf_counter() - began
    model.calibrate(train, held_out=held_out)
    scores = model.predict(test, verbose=0)["score"]
    line = {"auroc": roc_auc_score(true_labels, scores), "seconds": round(seconds, 1)}
    for name, distances in find_distances(model, test).items():
        line[name] = roc_auc_score(true_labels, distances)
    return line | {"by_epoch": watch.seen}


def main(argv):
    del argv
    if FLAGS.report:
        phase2_report.write(tables.read_lines(FLAGS.results), list(BASES), PAGE, PICTURE)
        return
    for base in FLAGS.bases:
        for seed in map(int, FLAGS.seeds):
            for dataset, normal in TASKS:
                if dataset not in FLAGS.datasets:
                    continue
                task = None
                for form in FLAGS.forms:
                    run = {"base": base, "form": form, "dataset": dataset}
                    run |= {"normal": normal, "seed": seed}
                    if tables.find_line(FLAGS.results, run):
                        continue
                    task = task or load_task(dataset, normal, seed)
                    line = {**run, **measure(base, form, task, seed), **machine.versions()}
                    tables.append_line(FLAGS.results, line)
                    print(*run.values(), f"{line['auroc']:.4f}", line["seconds"], flush=True)
                    keras.backend.clear_session()


if __name__ == "__main__":
    define_flags()
    app.run(main)
