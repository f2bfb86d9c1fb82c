"""What `benchmarks.speed` compares: each contestant is a process of its own.

  python -m benchmarks.contestants "train, paper"

Nothing of TensorFlow's is imported before a contestant that needs it, for PyTorch's should not wait
for it.
"""

import importlib
import json
import sys
import time
from functools import partial

import numpy as np
from absl import app, flags

from benchmarks.machine import peak_mib

flags.DEFINE_integer("batch_size", 64, "Images in a batch.", lower_bound=2)
flags.DEFINE_integer("steps", 20, "Batches per round.", lower_bound=1)

FLAGS = flags.FLAGS
SHAPE = (32, 32, 1)
SCORED_AT_ONCE = 256
MATRIX = 1024


def make_images(steps=None):
    n = FLAGS.batch_size * (steps or FLAGS.steps)
    return np.random.default_rng(0).integers(0, 256, (n, *SHAPE), dtype=np.uint8)


# Each returns a function that works through so many batches of images.


def fit(recipe, **compile_arguments):
    """`model.fit`, with the pipeline that train.py gives it."""
    from ede_keras import EDE
    from ede_keras.utils.pipeline import make_train_dataset

    model = EDE.from_recipe(recipe, SHAPE)
    model.compile(**compile_arguments)
    dataset, _ = make_train_dataset(make_images(), FLAGS.batch_size, seed=0)
    return lambda steps: model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)


def bare_steps(recipe):
    """`train_step` alone, compiled, on a batch that is there."""
    import tensorflow as tf

    from ede_keras import EDE

    model = EDE.from_recipe(recipe, SHAPE)
    batch = tf.constant(make_images(1))
    step = tf.function(model.train_step)

    def run(steps):
        for _ in range(steps):
            losses = step(batch)
        return losses["loss"].numpy()

    return run


def score(recipe):
    """Scores without maps, by Keras' `predict`, as evaluate.py asks for them."""
    from ede_keras import EDE

    images = make_images()
    model = EDE.from_recipe(recipe, SHAPE)

    def run(steps):
        part = images[: steps * FLAGS.batch_size]
        return model.combine_terms(model.compute_terms(part, SCORED_AT_ONCE))

    return run


def calibrate(recipe):
    """What comes between training and scoring."""
    from ede_keras import EDE

    images = make_images()
    model = EDE.from_recipe(recipe, SHAPE)
    return lambda steps: model.calibrate(images[: steps * FLAGS.batch_size])


def make_torch(recipe, compiled, channels_last):
    from benchmarks.torch_ede import TorchDefaultEDE, TorchEDE

    model = {"paper": TorchEDE, "default": TorchDefaultEDE}[recipe]
    return model(compiled=compiled, channels_last=channels_last)


def torch_train(*form):
    import torch

    model = make_torch(*form)
    batches = torch.from_numpy(make_images()).split(FLAGS.batch_size)

    def run(steps):
        for batch in batches[:steps]:
            model.train_step(batch, 0.8)

    return run


def torch_score(*form):
    import torch

    model = make_torch(*form)
    images = torch.from_numpy(make_images())

    def run(steps):
        part = images[: steps * FLAGS.batch_size]
        return [model.score(batch) for batch in part.split(SCORED_AT_ONCE)]

    return run


def multiply():
    """A product of matrices in TensorFlow for each batch."""
    import tensorflow as tf

    a = tf.random.normal((MATRIX, MATRIX))

    def run(steps):
        for _ in range(steps):
            product = tf.matmul(a, a)
        return product.numpy()

    return run


def _torch(work, does):
    return {
        f"torch {work}, {recipe}, {mode}{order}": partial(
            does, recipe, mode == "compiled", bool(order)
        )
        for recipe in ("paper", "default")
        for mode in ("eager", "compiled")
        for order in ("", ", channels last")
    }


# Those of a group take turns.
GROUPS = {
    "train": {
        "train, paper": partial(fit, "paper"),
        "train, default": partial(fit, "default"),
        "train, paper, XLA": partial(fit, "paper", jit_compile=True),
        "train, paper, bfloat16": partial(fit, "paper", precision="mixed_bfloat16"),
        "train, default, bfloat16": partial(fit, "default", precision="mixed_bfloat16"),
        "train, paper, 10 steps per call": partial(fit, "paper", steps_per_execution=10),
        "bare step, paper": partial(bare_steps, "paper"),
        "bare step, default": partial(bare_steps, "default"),
        "multiply": multiply,
        **_torch("train", torch_train),
    },
    "score": {
        "score, paper": partial(score, "paper"),
        "score, default": partial(score, "default"),
        "calibrate, default": partial(calibrate, "default"),
        "multiply": multiply,
        **_torch("score", torch_score),
    },
}


def main(argv):
    """Prints when it had imported its library and done its first batch, then takes its turns.

    It waits for a line on stdin before each turn, and answers with the turn's seconds and the
    memory so far.
    """
    name = argv[1]
    importlib.import_module("torch" if name.startswith("torch") else "ede_keras")
    imported = time.time()
    (make,) = {group[name] for group in GROUPS.values() if name in group}
    run = make()
    run(1)
    print(json.dumps({"imported": imported, "first": time.time()}), flush=True)
    run(FLAGS.steps)
    for _ in sys.stdin:
        began = time.perf_counter()
        run(FLAGS.steps)
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "peak_mib": peak_mib()}), flush=True)


if __name__ == "__main__":
    app.run(main)
