"""Checks an exported SavedModel in a new process, in a session as TF Serving runs it."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ede_keras.serving import edge_formats
from ede_keras.utils.files import StrPath

# Largest difference allowed between the outputs of two processes, in units of `error_scale`.
TOLERANCE = 1e-4


def build_requests(image_shape: Sequence[int], n: int = 8) -> dict[str, dict[str, np.ndarray]]:
    """Builds a request of noise images for every signature; all requests show the same images.

    Args:
        image_shape: `(height, width, channels)`.
        n: Number of images. Defaults to 8.

    Returns:
        A dict from the name of each signature to its inputs, arrays by name.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (n, *image_shape), dtype=np.uint8)
    images = pixels.astype("float32")
    encoded = np.array([tf.io.encode_png(image).numpy() for image in pixels], object)
    return {
        "serving_default": {"images": images},
        "serving_bytes": {"image_bytes": encoded},
        "serving_threshold": {"images": images, "threshold": np.full(n, 1e30, "float32")},
        "serving_map": {"images": images},
        "serving_map_bytes": {"image_bytes": encoded},
    }


def run(folder: StrPath, expected: Mapping[str, Any]) -> None:
    """Runs `main` in a new process.

    Args:
        folder: Folder of the SavedModel.
        expected: The outputs expected for `build_requests`, arrays by name, and `image_shape`.

    Raises:
        RuntimeError: The SavedModel does not load, or its outputs differ.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "expected.npz")
        np.savez(path, **expected)
        code = f"import sys; from {__name__} import main; main(*sys.argv[1:])"
        done = subprocess.run(
            [sys.executable, "-c", code, folder, path],
            capture_output=True,
            text=True,
            # The new process must import the package from the same place as this one.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        raise RuntimeError(f"The exported SavedModel failed its check: {' '.join(reason)}")


def main(folder: str, path: str) -> None:
    """Checks all signatures of a SavedModel, and the files of other formats in its folder.

    Args:
        folder: Folder of the SavedModel.
        path: An .npz file with the expected outputs and `image_shape`, see `run`.

    Raises:
        SystemExit: An output differs; the message names it.
    """
    with np.load(path) as file:
        expected = dict(file)
    requests = build_requests(expected.pop("image_shape"))
    # The threshold of this request is so high that no image is anomalous.
    normal = np.zeros_like(expected["label"])
    high = requests["serving_threshold"]["threshold"]
    special = {"serving_threshold": {"threshold": high, "label": normal}}
    with open_session(folder) as signatures:
        for name, inputs in requests.items():
            wanted = expected | special.get(name, {})
            for key, array in signatures[name](**inputs).items():
                check(f"{name}: {key}", array, wanted[key])
    for name, edge_format in edge_formats.FORMATS.items():
        file_path = Path(folder, edge_format.file_name)
        if file_path.exists():
            score = edge_format.load(file_path)
            for key, array in score(**requests["serving_default"]).items():
                check(f"{name}: {key}", array, expected[key])


@contextlib.contextmanager
def open_session(
    folder: StrPath,
) -> Iterator[dict[str, Callable[..., dict[str, np.ndarray]]]]:
    """Opens a SavedModel in a session, as TF Serving does.

    Args:
        folder: Folder of the SavedModel.

    Yields:
        A dict from the name of each signature to a function. It takes the inputs as keyword
        arguments and returns arrays by output name.
    """
    # `closing`, because entering the session would make its graph the default of the process.
    with contextlib.closing(tf.compat.v1.Session(graph=tf.Graph())) as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        tensor = session.graph.get_tensor_by_name

        def bind(signature):
            names = list(signature.inputs)
            fetches = {key: tensor(output.name) for key, output in signature.outputs.items()}
            run = session.make_callable(fetches, [tensor(signature.inputs[n].name) for n in names])
            return lambda **inputs: run(*(inputs[name] for name in names))

        # The signature without inputs belongs to the loader.
        yield {name: bind(s) for name, s in loaded.signature_def.items() if s.inputs}


def error_scale(wanted: np.ndarray) -> np.ndarray:
    """The scale of a relative error: the size of each value plus the standard deviation of all.

    Args:
        wanted: The correct values.

    Returns:
        An array of the shape of `wanted`. Divide a difference by it to get the relative error.
    """
    return np.abs(wanted) + wanted.std()


def check(name: str, found: np.ndarray, wanted: np.ndarray) -> None:
    """Exits with an error unless `found` equals `wanted` within `TOLERANCE`."""
    same = found.shape == wanted.shape
    if same:
        with np.errstate(invalid="ignore"):  # a threshold may be infinite
            close = np.abs(found - wanted) <= TOLERANCE * error_scale(wanted)
            same = bool((close | (found == wanted)).all())
    if not same:
        sys.exit(f"{name} is {found.ravel()[:3]}..., expected {wanted.ravel()[:3]}...")
