"""How the cost of training and scoring grows with the batch, the image, the networks, the set.

  python -m benchmarks.scaling

Each point is a process of its own. Writes `benchmarks/results/scaling.json`, which
`benchmarks.figures` draws.
"""

import json
import subprocess
import sys
import time

import numpy as np
from absl import app, flags

from benchmarks import machine, tables
from ede_keras.utils.files import write_json

flags.DEFINE_float("seconds", 2.0, "Minimum duration of a round.")
flags.DEFINE_integer("turns", 3, "Rounds of which the median counts.", lower_bound=1)
flags.DEFINE_string("results", str(tables.RESULTS / "scaling.json"), "The figures go here.")
flags.DEFINE_list("axes", [], "Only these.")
flags.DEFINE_string("point", None, "For its own use: what this process measures, JSON.")

FLAGS = flags.FLAGS

# From the paper's recipe at 32 x 32 x 1 in batches of 64 a single thing is changed.
AXES = {
    "batch_size": (1, 4, 16, 64, 256, 1024),
    "image_size": (32, 64, 128, 256),
    "base_width": (8, 16, 32, 64),
    "pretext_views": (1, 2, 4, 8),  # of an image in a step, by the default recipe
    "n_images": (1_000, 10_000, 100_000),  # of 16 x 16 pixels, by small networks
}


def measure(axis, value):
    """Images per second, trained and scored, and the peak of memory, at a point."""
    from ede_keras import EDE
    from ede_keras.utils.pipeline import make_train_dataset

    arguments = {axis: value} if axis in ("base_width", "pretext_views", "image_size") else {}
    if axis == "n_images":
        arguments = {"image_size": 16, "base_width": 8}
    batch_size = value if axis == "batch_size" else 64
    size = arguments.get("image_size", 32)
    shape = (size, size, 1)
    recipe = "default" if axis == "pretext_views" else "paper"
    n = value if axis == "n_images" else max(batch_size, 256)
    images = np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)
    model = EDE.from_recipe(recipe, shape, **arguments)
    dataset, steps = make_train_dataset(images, batch_size, seed=0)

    def train(turns):
        model.fit(dataset, steps_per_epoch=turns * steps, epochs=1, verbose=0)

    def score(turns):
        for _ in range(turns):
            model.compute_terms(images, batch_size)

    found = {}
    train(1)
    found["train"] = steps * batch_size / seconds_of(train)
    if axis != "pretext_views":  # which are of training alone: a score takes all of them
        model.calibrate(images[64:], held_out=images[:64])
        score(1)
        found["score"] = n / seconds_of(score)
    found["peak_mib"] = machine.peak_mib()
    return found


def seconds_of(work):
    """The median duration of `work(1)`, from turns that are long enough to be measured."""
    began = time.perf_counter()
    work(1)
    n = max(int(FLAGS.seconds / (time.perf_counter() - began)), 1)
    durations = []
    for _ in range(FLAGS.turns):
        began = time.perf_counter()
        work(n)
        durations.append((time.perf_counter() - began) / n)
    return float(np.median(durations))


def run(axis, value):
    """`measure` in a process of its own."""
    own = [f"--{name}={FLAGS[name].value}" for name in ("seconds", "turns")]
    point = json.dumps([axis, value])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling", f"--point={point}", *own],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main(argv):
    del argv
    if FLAGS.point:
        print(json.dumps(measure(*json.loads(FLAGS.point))))
        return
    found = {}
    for name in FLAGS.axes or AXES:
        found[name] = {}
        for value in AXES[name]:
            found[name][str(value)] = point = run(name, value)
            print(name, value, {what: round(rate) for what, rate in point.items()}, flush=True)
        write_json(FLAGS.results, {"machine": machine.describe(), "found": found})


if __name__ == "__main__":
    app.run(main)
