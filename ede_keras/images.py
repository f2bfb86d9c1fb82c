"""Encoded images -> pixels, through one TensorFlow function: PNG, JPEG, BMP, GIF.

Training on a folder, scoring a folder and the exported model all decode with `decode_image`, so
that one file has the same pixels, hence the same score, everywhere.
"""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from ede_keras.errors import InputError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601; sums to 1, so that grey stays the same grey
# More than cameras make; a few bytes can claim to be an image that fills all memory.
MAX_PIXELS = 2**26
_HEADER = 32  # bytes; of a JPEG the size may stand anywhere


def decode_image(encoded, image_shape):
    """One encoded image as an array of pixels; can be traced into a graph.

    An image of another size is resized without keeping its aspect ratio (bilinear, antialiased).
    Transparency is dropped, and of an animation only the first frame is taken.

    Args:
        encoded: Scalar string tensor, the content of a PNG, JPEG, BMP or GIF file.
        image_shape: (height, width, channels), channels 1 or 3.

    Returns:
        float32 tensor of shape `image_shape`, whole numbers in 0-255.

    Raises:
        InputError: Channels are neither 1 nor 3.
        tf.errors.InvalidArgumentError: not such an image.
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        raise InputError(f"image_shape must end in 1 or 3 channels. Received: {image_shape}")
    # Resized before all else: floats of all of a large image would need much memory.
    image = tf.image.resize(_decode(encoded), (height, width), antialias=True)
    # Grey files, with or without alpha, have up to 2 channels; known only when the graph runs.
    is_grey = tf.shape(image)[-1] < 3
    image = tf.gather(image, tf.where(is_grey, [0, 0, 0], [0, 1, 2]), axis=-1)
    if channels == 1:
        image = tf.tensordot(image, tf.constant(_LUMA), 1)[..., None]
    # Whole numbers, because folders are kept as uint8 and must score like the exported model.
    return tf.round(tf.ensure_shape(image, (height, width, channels)))


def decode_exact(encoded: bytes, name: str) -> np.ndarray:
    """One encoded colour image in its own size.

    Args:
        encoded: The content of an image file.
        name: What to call it in an error.

    Returns:
        uint8 array (h, w, 3).

    Raises:
        InputError: Not a readable image.
    """
    try:
        return tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()
    except tf.errors.OpError as error:
        raise _unreadable(name) from error


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


def load_images(paths, image_shape) -> np.ndarray:
    """Image files as one array, decoded in parallel by `decode_image`.

    Args:
        paths: The files.
        image_shape: (height, width, channels), channels 1 or 3.

    Returns:
        uint8 array (n, height, width, channels), in the order of `paths`.

    Raises:
        InputError: Names the file that cannot be read.
    """
    images = np.empty((len(paths), *image_shape), np.uint8)
    for i, image in enumerate(_map_files(paths, lambda data: decode_image(data, image_shape))):
        images[i] = image
    return images


def all_grey(paths) -> bool:
    """Whether all files are single-channel images; stops at the first that is not.

    Args:
        paths: The files.

    Returns:
        True or False; an alpha channel does not count.

    Raises:
        InputError: Names the file that cannot be read.
    """
    return all(n < 3 for n in _map_files(paths, lambda data: tf.shape(_decode(data))[-1]))


def _decode(encoded):
    pixels = tf.reduce_prod(tf.cast(_claimed_size(encoded), "int64"))
    limit = tf.debugging.assert_less_equal(
        pixels,
        tf.constant(MAX_PIXELS, "int64"),
        f"Expected an image of at most {MAX_PIXELS} pixels",
    )
    with tf.control_dependencies([limit]):
        image = tf.io.decode_image(encoded, expand_animations=False)
    return tf.ensure_shape(image, (None, None, None))


def _claimed_size(encoded):
    """Height and width, in any order, that an image file says it has."""
    header = tf.strings.substr(encoded, 0, _HEADER) + b"\0" * _HEADER

    def read(begin, dtype, little_endian):
        part = tf.strings.substr(header, begin, 2 * dtype.size)
        size = tf.io.decode_raw(part, dtype, little_endian=little_endian)
        return tf.abs(tf.cast(size, "int32"))  # a BMP that is stored downwards has height < 0

    def begins(magic):
        return tf.strings.substr(header, 0, len(magic)) == magic

    def refuse():
        kinds = "Expected the content of a PNG, JPEG, BMP or GIF file, which begins otherwise"
        with tf.control_dependencies([tf.debugging.Assert(False, [kinds])]):
            return tf.zeros(2, "int32")

    return tf.case(
        [
            (begins(b"\x89PNG"), lambda: read(16, tf.int32, False)),
            (begins(b"\xff\xd8\xff"), lambda: tf.image.extract_jpeg_shape(encoded)[:2]),
            (begins(b"GIF8"), lambda: read(6, tf.uint16, True)),
            (begins(b"BM"), lambda: read(18, tf.int32, True)),
        ],
        default=refuse,
    )


def _map_files(paths, function):
    """Yields function(content) of each file in order."""
    if not len(paths):  # TensorFlow cannot infer the type of an empty list
        return
    names = [os.fsencode(path) for path in paths]  # file names need not be valid UTF-8
    files = tf.data.Dataset.from_tensor_slices(names).map(
        lambda name: function(tf.io.read_file(name)), num_parallel_calls=tf.data.AUTOTUNE
    )
    results = files.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
    for path in paths:
        try:
            yield next(results)
        except tf.errors.PermissionDeniedError as error:
            raise InputError(
                f"Every image must be readable; give read permission to this one. Received: {path}"
            ) from error
        except tf.errors.OpError as error:
            raise _unreadable(path) from error


def _unreadable(name):
    return InputError(
        f"Every image must be a whole PNG, JPEG, BMP or GIF file; replace or remove this one. "
        f"Received: {name}"
    )
