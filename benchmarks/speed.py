"""How fast training and scoring are, beside PyTorch and beside what the machine could do.

  python -m benchmarks.speed

Each contestant is a process of its own; they take turns, so that a slow moment of the machine is
slow for all of them. PyTorch's are left out where it is missing (pip install '.[bench]'). Writes
`benchmarks/results/speed.json` and `speed.md`.
"""

import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import version

import numpy as np
from absl import app, flags

from benchmarks import operations, tables
from ede_keras.files import atomic_path, write_json

flags.DEFINE_integer("rounds", 9, "Turns of each contestant.", lower_bound=2)
flags.DEFINE_integer("batch_size", 64, "Images in a batch.", lower_bound=2)
flags.DEFINE_integer("steps", 20, "Batches in a turn.", lower_bound=1)
flags.DEFINE_string("results", str(tables.RESULTS / "speed"), "Stem of the files to write.")
flags.DEFINE_string("contestant", None, "For its own use: what this process is.")

FLAGS = flags.FLAGS
SHAPE = (32, 32, 1)


def make_images():
    n = FLAGS.batch_size * FLAGS.steps
    return np.random.default_rng(0).integers(0, 256, (n, *SHAPE), dtype=np.uint8)


# The contestants: each returns a function that works through all images once.


def fit(recipe, **compile_arguments):
    """`model.fit`, with its pipeline, as train.py calls it."""
    from ede_keras import EDE
    from ede_keras.pipeline import make_train_dataset

    images = make_images()
    model = EDE.from_recipe(recipe, SHAPE)
    model.compile(**compile_arguments)
    dataset, steps = make_train_dataset(images, FLAGS.batch_size, seed=0)
    return lambda: model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)


def bare_steps(recipe):
    """`train_step` alone, compiled, on a batch that is there."""
    import tensorflow as tf

    from ede_keras import EDE

    model = EDE.from_recipe(recipe, SHAPE)
    batch = tf.constant(make_images()[: FLAGS.batch_size])
    step = tf.function(model.train_step)

    def run():
        for _ in range(FLAGS.steps):
            losses = step(batch)
        return losses["loss"].numpy()

    return run


def predict(recipe):
    """Scores, without maps, as `evaluate.py` asks for them."""
    from ede_keras import EDE

    images = make_images()
    model = EDE.from_recipe(recipe, SHAPE)
    normal = np.resize(images[::-1], (model.memory_size + 64, *SHAPE))
    model.calibrate(normal[64:], held_out=normal[:64])
    return lambda: model.combine_terms(model.compute_terms(images))


def torch_train(compiled, channels_last):
    import torch

    from benchmarks.torch_ede import TorchEDE

    model = TorchEDE(compiled=compiled, channels_last=channels_last)
    batches = torch.from_numpy(make_images()).split(FLAGS.batch_size)

    def run():
        for batch in batches:
            model.train_step(batch, 0.5)

    return run


def torch_score(compiled, channels_last):
    import torch

    from benchmarks.torch_ede import TorchEDE

    model = TorchEDE(compiled=compiled, channels_last=channels_last)
    batches = torch.from_numpy(make_images()).split(256)
    return lambda: [model.score(batch) for batch in batches]


def multiply():
    """Matrix products, in TensorFlow: 2 · 1024³ operations each."""
    import tensorflow as tf

    a = tf.random.normal((1024, 1024))

    def run():
        for _ in range(20):
            product = tf.matmul(a, a)
        return product.numpy()

    return run


PRODUCTS = 20 * 2 * 1024**3
KERAS = {
    "train, paper": partial(fit, "paper"),
    "train, default": partial(fit, "default"),
    "train, paper, XLA": partial(fit, "paper", jit_compile=True),
    "train, paper, 10 steps a call": partial(fit, "paper", steps_per_execution=10),
    "bare step, paper": partial(bare_steps, "paper"),
    "bare step, default": partial(bare_steps, "default"),
    "score, paper": partial(predict, "paper"),
    "score, default": partial(predict, "default"),
    "multiply": multiply,
}
TORCH = {
    f"torch {what}, {mode}{order}": partial(do, mode == "compiled", bool(order))
    for what, do in (("train", torch_train), ("score", torch_score))
    for mode in ("eager", "compiled")
    for order in ("", ", channels last")
}


def contend(name):
    """Waits for a line on stdin before each turn, and answers with the turn's seconds and the
    memory so far; the first answer is when the first turn, which no line asks for, had ended."""
    run = {**KERAS, **TORCH}[name]()
    run()
    print(json.dumps({"started": time.time()}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        run()
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mib": peak}), flush=True)


class Contestant:
    """A process that has done its first turn."""

    def __init__(self, name):
        own = [f"--{flag}={FLAGS[flag].value}" for flag in ("batch_size", "steps")]
        began = time.time()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed", f"--contestant={name}", *own],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.name = name
        self.seconds = []
        self.until_first_turn = self._answer()["started"] - began

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has ended; run it by --contestant to see why")
        return json.loads(line)

    def take_turn(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.seconds.append(answer["seconds"])
        self.peak_mib = answer["peak_mib"]


def describe_machine():
    names = [
        line.split(":")[1].strip()
        for line in open("/proc/cpuinfo")
        if line.startswith("model name")
    ]
    packages = ["keras", "tensorflow", "numpy"]
    if importlib.util.find_spec("torch"):
        packages.append("torch")
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def measure(names):
    """All contestants, after their turns."""
    contestants = [Contestant(name) for name in names]
    for _ in range(FLAGS.rounds):
        for contestant in contestants:
            contestant.take_turn()
    for contestant in contestants:
        contestant.process.communicate()
    return contestants


def summarize(contestants):
    """What each contestant did, a dict to be kept."""
    n = FLAGS.batch_size * FLAGS.steps
    found = {}
    for contestant in contestants:
        amount = PRODUCTS if contestant.name == "multiply" else n
        median = float(np.median(contestant.seconds))
        found[contestant.name] = {
            "per_second": amount / median,
            "seconds": contestant.seconds,
            # The first turn took as long as any other but for its first step.
            "until_first_step": contestant.until_first_turn - median * (1 - 1 / FLAGS.steps),
            "peak_mib": contestant.peak_mib,
        }
    return found


def compare(found, name, other):
    """How many times as fast as another: median and quartiles over the rounds."""
    ratios = np.divide(found[other]["seconds"], found[name]["seconds"])
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} – {high:.2f})"


def make_table(found, least):
    """Markdown: images per second, how near that is to the machine's limit and how it compares
    with the fastest of PyTorch's forms."""
    columns = ["", "images/s", "of the limit", "times PyTorch's best", "to the first step, s"]
    rows = [[*columns, "peak, MiB"], ["---"] * 6]
    for name, entry in found.items():
        if name == "multiply":
            continue
        limit = times = ""
        for what, n_operations in least.items():
            if what in name and "default" not in name:
                share = entry["per_second"] * n_operations / found["multiply"]["per_second"]
                limit = f"{share:.2f}"
            rivals = [rival for rival in found if rival.startswith(f"torch {what}")]
            if name == f"{what}, paper" and rivals:
                times = compare(found, name, max(rivals, key=lambda r: found[r]["per_second"]))
        speeds = [f"{entry['per_second']:.0f}", limit, times]
        costs = [f"{entry['until_first_step']:.1f}", f"{entry['peak_mib']:.0f}"]
        rows.append([name, *speeds, *costs])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(argv):
    del argv
    if FLAGS.contestant:
        contend(FLAGS.contestant)
        return
    names = [*KERAS, *(TORCH if importlib.util.find_spec("torch") else ())]
    found = summarize(measure(names))
    least, machine = operations.count_least(SHAPE), describe_machine()
    write_json(
        f"{FLAGS.results}.json", {"machine": machine, "least_operations": least, "found": found}
    )
    text = (
        f"Images {' x '.join(map(str, SHAPE))}, batches of {FLAGS.batch_size} (scores: 256), "
        f"{FLAGS.rounds} turns; {', '.join(f'{k} {v}' for k, v in machine.items())}; matrices are "
        f"multiplied at {found['multiply']['per_second'] / 1e9:.0f} GFLOP/s. The limit is what "
        f"that allows: {least['train'] / 1e6:.0f} MFLOP to train on an image, "
        f"{least['score'] / 1e6:.0f} to score it. By `fit` training is "
        f"{compare(found, 'train, paper', 'bare step, paper')} times as fast as by bare steps. In "
        f"brackets: quartiles of the turns.\n\n{make_table(found, least)}\n"
    )
    with atomic_path(f"{FLAGS.results}.md") as aside:
        aside.write_text(text)
    print(text)


if __name__ == "__main__":
    app.run(main)
