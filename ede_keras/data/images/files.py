"""Reads image files, each decoded as by `decoding.decode_image`.

Two steps are added that need the file itself: a JPEG is turned upright by its EXIF orientation,
and Pillow reads TIFF and WebP.
"""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ede_keras.data.images import decoding, exif, other_formats
from ede_keras.errors import InputError
from ede_keras.utils import pipeline, scratch
from ede_keras.utils.files import StrPath

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", *other_formats.EXTENSIONS)
_decode_to_size = tf.function(decoding.decode_to_size)


def list_images(folder: StrPath) -> list[Path]:
    """Lists all image files in a folder and its subfolders.

    Hidden files and folders are skipped, and links to folders are not followed.

    Args:
        folder: The folder.

    Returns:
        The files that have one of `EXTENSIONS`, in upper or lower case, sorted by path.

    Raises:
        InputError: There is no permission to read a folder.
    """

    def fail(error: OSError) -> None:  # by default, os.walk skips such a folder
        raise InputError(
            "Every folder of images must be readable. Grant read permission for this one. "
            f"Received: {error.filename} ({error.strerror})"
        ) from error

    found: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in files
            if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
        ]
    return sorted(found)


def load_images(
    paths: Sequence[StrPath], image_shape: Sequence[int], verbose: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes image files in parallel into one array on disk.

    Args:
        paths: The n files.
        image_shape: `(height, width, channels)` of the result, channels 1 or 3.
        verbose: 1 shows a progress bar, 0 does not.

    Returns:
        `(images, damaged)`. `images` is a uint8 array `(m, height, width, channels)` on disk (see
        `scratch.store`), in the order of `paths`. `damaged` is a bool array `(n,)`, true for files
        that cannot be decoded; `images` does not include them.

    Raises:
        InputError: There is no permission to read a file.
    """
    *size, channels = image_shape
    orientations = [_read_orientation(path) for path in paths]
    sizes = [size[::-1] if exif.is_sideways(turn) else size for turn in orientations]
    damaged = np.zeros(len(paths), bool)
    decoded = _map_files(
        paths, lambda content, size: decoding.decode_to_size(content, size, channels), sizes
    )
    progress = keras.utils.Progbar(len(paths), verbose=verbose, unit_name="image")

    def generate_images() -> Iterator[np.ndarray]:
        for i, image in enumerate(decoded):
            damaged[i] = image is None
            if image is not None:
                yield exif.turn_upright(image, orientations[i])
            progress.add(1)

    return scratch.store(generate_images(), image_shape, np.uint8), damaged


def decode_content(content: bytes, name: str, image_shape: Sequence[int]) -> np.ndarray:
    """Decodes the content of an image file as `load_images` decodes the file.

    Args:
        content: The content of the file.
        name: Name or path of the file. Its extension shows whether it is TIFF or WebP.
        image_shape: `(height, width, channels)` of the result, channels 1 or 3.

    Returns:
        float32 array of shape `image_shape`, whole numbers in 0-255.

    Raises:
        tf.errors.OpError: Not a complete image file. For TIFF and WebP: ValueError or OSError.
    """
    *size, channels = image_shape
    if _needs_pillow(name):
        content = other_formats.read_as_png(io.BytesIO(content))
    orientation = exif.read_orientation(io.BytesIO(content))
    size = size[::-1] if exif.is_sideways(orientation) else size
    image = _decode_to_size(tf.constant(content), tf.constant(size), channels)
    return exif.turn_upright(image.numpy(), orientation)


def find_size(path: StrPath) -> tuple[int, int]:
    """Returns height and width of an image file, after it is turned upright.

    Args:
        path: The file.

    Returns:
        `(height, width)` in pixels.

    Raises:
        InputError: Not a complete image file, or there is no permission to read it.
    """
    shape = next(_map_files([path], lambda content: tf.shape(decoding.decode_pixels(content))[:2]))
    if shape is None:
        raise decoding.unreadable_image(path)
    height, width = (int(side) for side in shape)
    return (width, height) if exif.is_sideways(_read_orientation(path)) else (height, width)


def _needs_pillow(path: StrPath) -> bool:
    return str(path).lower().endswith(other_formats.EXTENSIONS)


def _read_orientation(path: StrPath) -> int:
    return 1 if _needs_pillow(path) else exif.read_orientation(path)  # Pillow turns those itself


def _map_files(
    paths: Sequence[StrPath], function: Callable[..., tf.Tensor], *columns: Sequence[object]
) -> Iterator[np.ndarray | None]:
    """Yields function(content, *values of the columns) for each file, or None if it is damaged."""
    if not len(paths):  # TensorFlow cannot infer the type of an empty list
        return
    names = [os.fsencode(path) for path in paths]  # file names may not be valid UTF-8
    by_pillow = [_needs_pillow(path) for path in paths]

    def read(name: tf.Tensor, by_pillow: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            by_pillow, lambda: other_formats.read_in_graph(name), lambda: tf.io.read_file(name)
        )

    def read_by_tensorflow(name: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return tf.io.read_file(name)

    # Without Python code in the graph, the files are read in parallel.
    read_file = read if any(by_pillow) else read_by_tensorflow
    elements = tf.data.Dataset.from_tensor_slices((names, by_pillow, *columns))
    mapped = elements.map(
        lambda name, by_pillow, *values: function(read_file(name, by_pillow), *values),
        num_parallel_calls=os.cpu_count(),
    )
    results = pipeline.read_ahead(mapped).as_numpy_iterator()
    for path in paths:
        try:
            yield next(results)
        except tf.errors.OpError as error:
            if os.path.exists(path) and not os.access(path, os.R_OK):
                raise InputError(
                    "Every image must be readable. Grant read permission for this one. "
                    f"Received: {path}"
                ) from error
            yield None
