"""Records what TensorFlow does when, for pictures of before and after a change.

  python benchmarks/timeline.py --work=score --results=benchmarks/results/timeline-score-after.json
  taskset -c 0 python benchmarks/timeline.py --work=fit --results=...-fit-after.json

It runs with whichever `ede_keras` it finds, hence as a file: with PYTHONPATH=../before that of a
work tree of an older commit (`score` 766d63c, `fit` 02843ae). `benchmarks.figures` draws.
"""

import json
import os
import re
import tempfile
from pathlib import Path

# As train.py sets them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import numpy as np
import tensorflow as tf
from absl import app, flags
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from ede_keras import EDE

flags.DEFINE_enum("work", "score", ("score", "train", "fit"), "A batch; or an epoch of `fit`.")
flags.DEFINE_string("results", None, "JSON to write.", required=True)

FLAGS = flags.FLAGS
SHAPE = (32, 32, 1)
GAP = 30  # ms; a pause that is shorter is none
# Of an event of the executor: name of the node, its operation.
NODE = re.compile(r"[^:]+:(\w+)$")


def score():
    """A batch of 256, by the paper's recipe."""
    images = np.random.default_rng(0).integers(0, 256, (256, *SHAPE), dtype=np.uint8)
    model = EDE.from_recipe("paper", SHAPE)
    return lambda: model.compute_terms(images, batch_size=256)


def train():
    """A training step on a batch of 64, by the paper's recipe."""
    images = np.random.default_rng(0).integers(0, 256, (64, *SHAPE), dtype=np.uint8)
    model = EDE.from_recipe("paper", SHAPE)
    return lambda: model.train_on_batch(images)


def fit():
    """An epoch of 60 batches, from an array, by small networks."""
    images = np.random.default_rng(0).integers(0, 256, (60 * 64, *SHAPE), dtype=np.uint8)
    model = EDE.from_recipe("paper", SHAPE, base_width=16)
    return lambda: model.fit(images, batch_size=64, verbose=0)


def record(work):
    """The operations that ran, `[operation, start, duration]` in ms, and how long it took."""
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        with tf.profiler.experimental.Trace("whole"):
            work()
        tf.profiler.experimental.stop()
        (path,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    events = {}
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                start = line.timestamp_ns / 1e6 + event.offset_ps / 1e9
                events.setdefault(name, []).append((start, event.duration_ps / 1e9))
    ((began, elapsed),) = events["whole"]
    operations = [
        [node[1], round(start - began, 3), round(duration, 3)]
        for name in events
        if (node := NODE.match(name))
        for start, duration in events[name]
        if duration
    ]
    return sorted(operations), elapsed


def merge(events):
    """When anything ran at all: of tens of thousands of operations that is enough."""
    merged = []
    for start, end in sorted((start, start + duration) for _, start, duration in events):
        if merged and start - merged[-1][1] < GAP:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return [["any", start, round(end - start, 3)] for start, end in merged]


def main(argv):
    del argv
    work = {"score": score, "train": train, "fit": fit}[FLAGS.work]()
    work()
    work()
    events, elapsed = record(work)
    if FLAGS.work == "fit":
        events = merge(events)
    Path(FLAGS.results).write_text(json.dumps({"elapsed": round(elapsed, 1), "events": events}))
    print(f"{elapsed:.0f} ms, {len(events)} events")


if __name__ == "__main__":
    app.run(main)
