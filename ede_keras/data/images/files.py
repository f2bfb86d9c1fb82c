"""Image files of a folder -> arrays, each decoded as `decoding.decode_image` does.

Beside it, what a file alone knows and an encoded image in a request does not: a JPEG is turned
upright as its EXIF data say, and TIFF and WebP are read by Pillow.
"""

import io
import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ede_keras.data.images import decoding, exif, other_formats
from ede_keras.errors import InputError
from ede_keras.utils import pipeline, scratch

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", *other_formats.EXTENSIONS)
# Of a JPEG: its EXIF data stand at the beginning and have at most 64 KiB.
_HEADER = 2**17
_decode_to_size = tf.function(decoding.decode_to_size)


def list_images(folder) -> list[Path]:
    """All image files under a folder, sorted by path; hidden files and folders are skipped.

    Args:
        folder: Searched with all its subfolders, but not through links to folders.

    Returns:
        The files whose extension is one of `EXTENSIONS`, in upper or lower case.

    Raises:
        InputError: Names the folder that cannot be read.
    """

    def refuse(error):  # os.walk by itself leaves such a folder out
        raise InputError(
            f"Every folder of images must be readable; give read permission to this one. "
            f"Received: {error.filename} ({error.strerror})"
        ) from error

    found = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in files
            if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
        ]
    return sorted(found)


def load_images(paths, image_shape, verbose=0):
    """Image files as one array on disk, decoded in parallel.

    Args:
        paths: The files.
        image_shape: (height, width, channels), channels 1 or 3.
        verbose: 1 shows how far it is.

    Returns:
        `(images, damaged)`: uint8 `(m, height, width, channels)`, in the order of `paths`, as
        `scratch.store` gives them; and bool `(n,)`, true for files that are no whole images and
        not among the m.

    Raises:
        InputError: Names the file that may not be read; or Pillow is needed and missing.
    """
    *size, channels = image_shape
    turns = [_read_orientation(path) for path in paths]
    sizes = [size[::-1] if exif.is_sideways(turn) else size for turn in turns]
    damaged = np.zeros(len(paths), bool)
    decoded = _map_files(
        paths, lambda data, size: decoding.decode_to_size(data, size, channels), sizes
    )
    progress = keras.utils.Progbar(len(paths), verbose=verbose, unit_name="image")

    def whole():
        for i, image in enumerate(decoded):
            damaged[i] = image is None
            if image is not None:
                yield exif.turn_upright(image, turns[i])
            progress.add(1)

    return scratch.store(whole(), image_shape, np.uint8), damaged


def decode_content(content, name, image_shape):
    """The content of one image file, decoded as `load_images` decodes the file.

    Args:
        content: Bytes.
        name: The file's name or path; its extension tells a TIFF or WebP.
        image_shape: (height, width, channels), channels 1 or 3.

    Returns:
        float32 array of shape `image_shape`, whole numbers in 0-255.

    Raises:
        InputError: Pillow is needed and missing.
        tf.errors.OpError, ValueError, OSError: Not a whole image.
    """
    *size, channels = image_shape
    if name.lower().endswith(other_formats.EXTENSIONS):
        content = other_formats.read_as_png(io.BytesIO(content))
    turn = exif.read_orientation(content[:_HEADER])
    size = size[::-1] if exif.is_sideways(turn) else size
    image = _decode_to_size(tf.constant(content), tf.constant(size), channels)
    return exif.turn_upright(image.numpy(), turn)


def find_size(path):
    """(height, width) of an image file, upright.

    Raises:
        InputError: Not a whole image.
    """
    shape = next(_map_files([path], lambda data: tf.shape(decoding.decode_pixels(data))[:2]))
    if shape is None:
        raise decoding.unreadable(path)
    height, width = (int(side) for side in shape)
    return (width, height) if exif.is_sideways(_read_orientation(path)) else (height, width)


def _read_orientation(path):
    # Other formats are turned by who reads them.
    if str(path).lower().endswith(other_formats.EXTENSIONS) or not os.access(path, os.R_OK):
        return 1
    with open(path, "rb") as file:
        return exif.read_orientation(file.read(_HEADER))


def _read_tensorflow(name, is_other):
    del is_other
    return tf.io.read_file(name)


def _read_any(name, is_other):
    return tf.cond(
        is_other, lambda: other_formats.read_in_graph(name), lambda: tf.io.read_file(name)
    )


def _map_files(paths, function, *columns):
    """Yields function(content, *columns' values) of each file in order, None of a damaged one."""
    if not len(paths):  # TensorFlow cannot infer the type of an empty list
        return
    names = [os.fsencode(path) for path in paths]  # file names need not be valid UTF-8
    is_other = [str(path).lower().endswith(other_formats.EXTENSIONS) for path in paths]
    read = _read_tensorflow
    if any(is_other):  # else no Python in the graph, which would read one file at a time
        other_formats.import_pillow()
        read = _read_any
    elements = tf.data.Dataset.from_tensor_slices((names, is_other, *columns))
    results = elements.map(
        lambda name, is_other, *values: function(read(name, is_other), *values),
        num_parallel_calls=os.cpu_count(),
    )
    results = pipeline.read_ahead(results).as_numpy_iterator()
    for path in paths:
        try:
            yield next(results)
        except tf.errors.OpError as error:
            if os.path.exists(path) and not os.access(path, os.R_OK):
                raise InputError(
                    "Every image must be readable; give read permission to this one. "
                    f"Received: {path}"
                ) from error
            yield None
