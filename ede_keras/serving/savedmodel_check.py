"""Tries an exported SavedModel in a process of its own, by a session, as TF Serving runs it."""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from ede_keras.serving import edge_formats

# What a score may differ by in another process, of its size and of the scores' deviation.
TOLERANCE = 1e-4


def build_requests(image_shape, n=8):
    """Inputs of every signature for n images of noise: `{signature: {input: array}}`."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, *image_shape), dtype=np.uint8)
    images = pixels.astype("float32")
    encoded = np.array([tf.io.encode_png(image).numpy() for image in pixels], object)
    return {
        "serving_default": {"images": images},
        "serving_bytes": {"image_bytes": encoded},
        "serving_threshold": {"images": images, "threshold": np.full(n, 1e30, "float32")},
        "serving_map": {"images": images},
    }


def run(folder, expected):
    """Runs `main` in a fresh process.

    Args:
        folder: The SavedModel.
        expected: The outputs for `build_requests`, a dict of arrays, and `image_shape`.

    Raises:
        RuntimeError: The SavedModel does not load, or gives other outputs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "expected.npz")
        np.savez(path, **expected)
        code = "import sys; from ede_keras.serving.savedmodel_check import main; main(*sys.argv[1:])"
        done = subprocess.run(
            [sys.executable, "-c", code, folder, path],
            capture_output=True,
            text=True,
            # Whatever this process imports the package by.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        raise RuntimeError(f"The exported SavedModel failed its check: {' '.join(reason)}")


def main(folder, path):
    """Exits with an error unless the SavedModel gives the outputs that `path`, an .npz, holds."""
    with np.load(path) as file:
        expected = dict(file)
    requests = build_requests(expected.pop("image_shape"))
    with open_session(folder) as signatures:
        for name, inputs in requests.items():
            wanted = expected
            if name == "serving_threshold":  # nothing is above it
                nothing = np.zeros_like(expected["label"])
                wanted = {**expected, "threshold": inputs["threshold"], "label": nothing}
            for key, array in signatures[name](**inputs).items():
                check(f"{name}: {key}", array, wanted[key])
    for name, kind in edge_formats.FORMATS.items():
        path = Path(folder, kind.file_name)
        if path.exists():
            for key, array in kind.load(path)(**requests["serving_default"]).items():
                check(f"{name}: {key}", array, expected[key])


@contextlib.contextmanager
def open_session(folder):
    """The signatures of a SavedModel, in a session as TF Serving runs it.

    Yields:
        `{name: function}`, each from its inputs, arrays by name, to a dict of arrays.
    """
    # Closed, not entered: its graph would become that of the whole process.
    with contextlib.closing(tf.compat.v1.Session(graph=tf.Graph())) as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        tensor = session.graph.get_tensor_by_name

        def bind(signature):
            names = list(signature.inputs)
            fetches = {key: tensor(output.name) for key, output in signature.outputs.items()}
            run = session.make_callable(fetches, [tensor(signature.inputs[n].name) for n in names])
            return lambda **inputs: run(*(inputs[name] for name in names))

        # One without inputs is the loader's own.
        yield {name: bind(s) for name, s in loaded.signature_def.items() if s.inputs}


def unit(wanted):
    """What a difference from these outputs is measured by: their size and their deviation."""
    return np.abs(wanted) + wanted.std()


def check(name, found, wanted):
    """Exits with an error unless `found` is `wanted` within the tolerance."""
    allowed = TOLERANCE * unit(wanted)
    if found.shape != wanted.shape or not (np.abs(found - wanted) <= allowed).all():
        sys.exit(f"{name} is {found.ravel()[:3]}..., expected {wanted.ravel()[:3]}...")
