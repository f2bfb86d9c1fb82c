"""Scores images of any size in one call: files by their paths, or arrays."""

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from ede_keras.data.datasets import list_folder
from ede_keras.data.images.arrays import fit_image
from ede_keras.data.images.decoding import MAX_VALUE
from ede_keras.data.images.files import load_images
from ede_keras.data.images.inspection import inspect_image
from ede_keras.errors import InputError
from ede_keras.models.detector import AnomalyDetector
from ede_keras.utils import scratch
from ede_keras.utils.files import StrPath

Images: TypeAlias = StrPath | Sequence[StrPath] | Sequence[np.ndarray] | np.ndarray


def score_images(
    model: AnomalyDetector,
    images: Images,
    maps: bool = False,
    max_value: int = MAX_VALUE,
    verbose: int = 0,
) -> dict[str, Any]:
    """Scores image files or arrays of any size; `model.predict` takes arrays of one size alone.

    Args:
        model: A calibrated `EDE`, a variant of it, or a `TiledDetector`.
        images: The path of a folder or of an image, or a pattern such as "parts/*.png"; or the
            paths of several images. Or arrays `(height, width)` or `(height, width, c)`, c from 1
            to 4, each of its own size, with pixels from 0 to 255. They are resized to the model's
            `image_shape` as in training.
        maps: Whether the anomaly maps are returned too.
        max_value: The value of white in PNG and TIFF files of 16 bits, as in the training data.
        verbose: 1 shows progress bars.

    Returns:
        A dict: `name`, each image's path, relative to a folder, or its position; `score`, float32
        `(n,)`, higher for more anomalous; `label`, int32 `(n,)`, 1 where the score is above the
        threshold; and `left_out`, a dict from the path of each file that cannot be read to the
        reason. With `maps` also `anomaly_map`, a list of float32 arrays `(height, width)`, of the
        images' own sizes.

    Raises:
        InputError: There is no image that can be read.

    Example:
        >>> found = ede_keras.score_images(model, "new_parts")
        >>> found["name"][found["label"] == 1]
        array(['scratched/007.png'], dtype='<U17')
    """
    names, read, sizes, left_out = _read(model, images, max_value, verbose)
    predicted = model.predict(read, verbose=verbose)
    found = {"name": names, "score": predicted["score"], "label": predicted["label"]}
    if maps:
        found["anomaly_map"] = [
            tf.image.resize(anomaly_map[..., None], size).numpy()[..., 0]
            for anomaly_map, size in zip(predicted["anomaly_map"], sizes, strict=True)
        ]
    return {**found, "left_out": left_out}


def _read(model, images, max_value, verbose):
    """`(names, images of one size on disk, sizes, files left out)`."""
    shape = tuple(model.image_shape)
    if isinstance(images, str | os.PathLike):
        paths, names, left_out = _list(os.fspath(images))
    elif not len(images):
        raise InputError("Expected at least one image. Received: 0 images")
    elif isinstance(images[0], str | os.PathLike):
        paths, names, left_out = list(images), [os.fspath(path) for path in images], {}
    else:
        fitted = (fit_image(image, shape, f"image {i}") for i, image in enumerate(images))
        sizes = [np.shape(image)[:2] for image in images]
        return np.arange(len(images)), scratch.store(fitted, shape, "float32"), sizes, {}
    read, sizes, problems = read_files(paths, shape, max_value, verbose)
    left_out |= {names[i]: reason for i, reason in problems.items()}
    if not len(read):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in [*left_out.items()][:3])
        raise InputError(f"Expected images that can be read. Received: {reasons}")
    kept = np.array([name for i, name in enumerate(names) if i not in problems])
    return kept, read, sizes, left_out


def read_files(
    paths: Sequence[StrPath], image_shape: Sequence[int], max_value: int, verbose: int = 0
) -> tuple[np.ndarray, list[tuple[int, int]], dict[int, str]]:
    """Reads image files at the size that a model takes.

    Args:
        paths: The n files.
        image_shape: `(height, width, channels)` of the result.
        max_value: As in `score_images`.
        verbose: As in `score_images`.

    Returns:
        `(images, sizes, problems)`: uint8 `(m, *image_shape)` on disk and the `(height, width)` of
        the files that can be read; and why the others cannot, by their position.
    """
    facts = [inspect_image(path) for path in paths]
    images, unread = load_images(paths, image_shape, verbose, max_value, facts)
    problems = {int(i): facts[i].problem or "damaged" for i in np.flatnonzero(unread)}
    sizes = [fact.size for i, fact in enumerate(facts) if i not in problems]
    return images, sizes, problems


def _list(place):
    """`(paths, names, files left out)` of a folder, an image or a pattern."""
    dataset = list_folder(place)
    paths = [*dataset.x_train, *dataset.x_test]
    parts = (part for part in (dataset.paths_train, dataset.paths_test) if part is not None)
    names = [str(name) for part in parts for name in part]
    return paths, names, dict(dataset.summary.left_out)
