"""Encoded images -> pixels, through one TensorFlow function: PNG, JPEG, BMP, GIF.

Training on a folder, scoring a folder and the exported model all decode with `decode_image`, so
that one file has the same pixels, hence the same score, everywhere.
"""

import numpy as np
import tensorflow as tf

from ede_keras.errors import InputError

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
    return tf.ensure_shape(decode_to_size(encoded, (height, width), channels), image_shape)


def decode_to_size(encoded, size, channels):
    """`decode_image` to a height and width, int32 `(2,)`, that are known when it runs."""
    # Resized before all else: floats of all of a large image would need much memory.
    image = tf.image.resize(decode_pixels(encoded), size, antialias=True)
    # Grey files, with or without alpha, have up to 2 channels; known only when the graph runs.
    is_grey = tf.shape(image)[-1] < 3
    image = tf.gather(image, tf.where(is_grey, [0, 0, 0], [0, 1, 2]), axis=-1)
    if channels == 1:
        image = tf.tensordot(image, tf.constant(_LUMA), 1)[..., None]
    # Whole numbers, because folders are kept as uint8 and must score like the exported model.
    return tf.round(image)


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
        raise unreadable(name) from error


def decode_pixels(encoded):
    """An encoded image in its own size and channels, a uint8 tensor."""
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


def unreadable(name):
    """The error that says which file is no image."""
    return InputError(
        f"Every image must be a whole PNG, JPEG, BMP or GIF file; replace or remove this one. "
        f"Received: {name}"
    )
