"""Measures folders of real parts in MVTec AD's layout, beside baselines on the same features.

  python -m benchmarks.parts --data_dir=path/to/sets         # each folder in it, three seeds
  python -m benchmarks.parts --data_dir=path/to/sets --sets=screw --recipes=features
  python -m benchmarks.parts --data_dir=path/to/sets --sets=glassfiber --tile=224
  python -m benchmarks.accuracy --report                     # write the table into its page

Each run is one of train.py in a temporary folder. With recipe features the baselines see the same
features: the residual of principal components and the distance to the nearest normal one, of the
vectors, and of the places (mean of the most deviating ones, as in the score). `map_auroc` is that
of the anomaly map's highest value alone. A run that is in the results is skipped, so the same
command continues where it stopped. The images stay where they are; their licences differ. Settings
were chosen on elpv, deeppcb and magnetic tiles: the other sets are test sets.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from sklearn.metrics import roc_auc_score

from benchmarks import machine, simple, tables
from ede_keras.cli.runs import load_run, load_split
from ede_keras.layers.feature_memory import highest_mean

RECIPES = ("features", "default")
# Places to fit the baselines on, a random choice.
PLACES = 20_000

FLAGS = flags.FLAGS


def define_flags():
    flags.DEFINE_string("data_dir", None, "Folder that holds a folder for each set.")
    flags.DEFINE_list("sets", [], "Names of folders; all by default.")
    flags.DEFINE_list("recipes", list(RECIPES), "Recipes.")
    flags.DEFINE_integer("tile", None, "Side of tiles, as for train.py; whole images by default.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds.")
    flags.DEFINE_string("results", str(tables.RESULTS / "parts/parts.jsonl"), "Results file.")


def score_baselines(model, split, seed):
    """AUROC of the simple methods on the model's own scaled features, by name."""
    normal = np.concatenate([model.extract_features(x) for x in (split.x_train, split.x_val)])
    test = model.extract_features(split.x_test)
    shape = model.space.features
    vectors, places = split_scaled(model.space, normal)
    test_vectors, test_places = split_scaled(model.space, test)
    known = places.reshape(-1, shape.channels)
    known = known[np.random.default_rng(seed).permutation(len(known))[:PLACES]]
    found = {}
    for name in tables.BASELINES:
        scores = simple.METHODS[name](vectors, seed)(test_vectors)
        found[f"{name}_of_vectors"] = roc_auc_score(split.y_test, scores)
        by_place = simple.METHODS[name](known, seed)(test_places.reshape(-1, shape.channels))
        scores = np.asarray(highest_mean(by_place.reshape(len(test), -1)))
        found[f"{name}_of_places"] = roc_auc_score(split.y_test, scores)
    return found


def split_scaled(space, rows, size=64):
    """The vectors and places of rows, scaled as the model scales them; so many rows at a time."""
    parts = [
        space.features.split(space.scaling(rows[start : start + size]))
        for start in range(0, len(rows), size)
    ]
    vectors, places = zip(*parts, strict=True)
    return np.concatenate(vectors), np.concatenate(places)


def measure(run):
    """Runs train.py; returns the run's line."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as output_dir:
        flags = [
            f"--{name}={run[name]}" for name in ("seed", "recipe", "tile") if run[name] is not None
        ]
        command = [f"--dataset={Path(FLAGS.data_dir, run['set'])}", f"--output_dir={output_dir}"]
        subprocess.run([sys.executable, "train.py", *flags, *command], cwd=tables.ROOT, check=True)
        seconds = time.perf_counter() - began
        (path,) = Path(output_dir).rglob("config.json")
        config, metrics, model = load_run(path.parent)
        line = {**run, "image_size": config["image_size"], "n_train": metrics["n_train"]}
        line |= {name: metrics[name] for name in tables.PART_METRICS if name in metrics}
        split = load_split(config, None, model.image_shape)
        peaks = model.compute_maps(split.x_test).max(axis=(1, 2))
        line["map_auroc"] = roc_auc_score(split.y_test, peaks)
        line["patches_found"] = metrics["patches_found"]
        line["seconds"] = round(seconds, 1)
        line["ms_an_image"] = round(1000 / metrics["images_per_second"], 1)
        if run["recipe"] == "features" and run["tile"] is None:
            line |= score_baselines(model, split, run["seed"])
    return {**line, **machine.versions()}


def main(argv):
    del argv
    if FLAGS.data_dir is None:
        raise app.UsageError("Expected --data_dir, a folder that holds a folder for each set.")
    sets = FLAGS.sets or sorted(path.name for path in Path(FLAGS.data_dir).iterdir())
    for seed in map(int, FLAGS.seeds):
        for name in sets:
            for recipe in FLAGS.recipes:
                run = {"set": name, "recipe": recipe, "tile": FLAGS.tile, "seed": seed}
                if not tables.find_line(FLAGS.results, run):
                    line = measure(run)
                    tables.append_line(FLAGS.results, line)
                    print(*run.values(), f"AUROC {line['auroc']:.4f}", flush=True)


if __name__ == "__main__":
    define_flags()
    app.run(main)
