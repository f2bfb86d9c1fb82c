"""Decodes PNG, JPEG, BMP and GIF by TensorFlow operations.

Training on a folder, scoring a folder and the exported model all use `decode_image`. A file
therefore has the same pixels everywhere, and the same score.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ede_keras.errors import InputError

MAX_VALUE = 65535  # of white in a PNG of 16 bits, unless a set says otherwise
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601; the sum is 1, so a grey pixel keeps its value
# Larger than photographs are. A file of a few bytes can claim a size that would fill the memory.
MAX_PIXELS = 2**26
_HEADER = 32  # bytes that hold the size, except in a JPEG, where it can be anywhere


def decode_image(
    encoded: tf.Tensor, image_shape: Sequence[int], max_value: int = MAX_VALUE
) -> tf.Tensor:
    """Decodes and resizes an image; works eagerly and within a graph.

    Resizing is bilinear with antialiasing and does not keep the aspect ratio. An alpha channel is
    dropped, and of an animation only the first frame is taken.

    Args:
        encoded: Scalar string tensor, the content of a PNG, JPEG, BMP or GIF file.
        image_shape: `(height, width, channels)` of the result, channels 1 or 3.
        max_value: The value of white in a PNG of 16 bits; higher ones are white, too.

    Returns:
        float32 tensor of shape `image_shape`, whole numbers in 0-255.

    Raises:
        InputError: The channels are neither 1 nor 3.
        tf.errors.InvalidArgumentError: `encoded` is not such an image.
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        raise InputError(f"image_shape must end in 1 or 3 channels. Received: {image_shape}")
    image = decode_to_size(encoded, (height, width), channels, max_value)
    return tf.ensure_shape(image, image_shape)


def decode_to_size(
    encoded: tf.Tensor,
    size: tf.Tensor | tuple[int, int],
    channels: int,
    max_value: int = MAX_VALUE,
) -> tf.Tensor:
    """Decodes and resizes an image as `decode_image` does, to a size that may be a tensor.

    Args:
        encoded: Scalar string tensor, the content of a PNG, JPEG, BMP or GIF file.
        size: Height and width, int32 of shape `(2,)`.
        channels: 1 or 3.
        max_value: As in `decode_image`.

    Returns:
        float32 tensor `(*size, channels)`, whole numbers in 0-255.

    Raises:
        tf.errors.InvalidArgumentError: `encoded` is not such an image.
    """
    image, _ = _decode_and_resize(encoded, size, max_value, lambda pixels: ())
    return take_channels(image, channels)


def decode_measured(
    encoded: tf.Tensor,
    size: tf.Tensor | tuple[int, int],
    channels: int,
    max_value: int = MAX_VALUE,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes and resizes an image as `decode_to_size` does, and measures its pixels.

    Args:
        encoded: As in `decode_to_size`.
        size: As in `decode_to_size`.
        channels: As in `decode_to_size`.
        max_value: As in `decode_image`.

    Returns:
        `(image, measured)`. `measured` is int32 `(3,)`: the lowest and the highest value as stored,
        without alpha; and 1 if the resized image shows colours, 0 if it is grey.
    """
    image, stored = _decode_and_resize(encoded, size, max_value, find_range)
    colours = take_channels(image, 3)
    has_colours = tf.reduce_any(colours != colours[..., :1])
    measured = tf.concat([stored, [tf.cast(has_colours, "int32")]], 0)
    return take_channels(image, channels), measured


def find_range(pixels: tf.Tensor) -> tf.Tensor:
    """The lowest and the highest value of `(height, width, 1 to 4)` pixels, without alpha."""
    n = tf.shape(pixels)[-1]
    colours = pixels[..., : n - 1 + n % 2]  # alpha is the last one of 2 or 4 channels
    return tf.cast(tf.stack([tf.reduce_min(colours), tf.reduce_max(colours)]), "int32")


def _decode_and_resize(
    encoded: tf.Tensor,
    size: tf.Tensor | tuple[int, int],
    max_value: int,
    measure: Callable[[tf.Tensor], Any],
) -> tuple[tf.Tensor, Any]:
    """`(image, measured)`: float32 pixels in 0-255, and `measure` of the pixels as stored."""

    def resize(image: tf.Tensor) -> tuple[tf.Tensor, Any]:
        # Resized first, because a large image takes four times the memory as floats.
        return tf.image.resize(image, size, antialias=True), measure(image)

    def resize_deep() -> tuple[tf.Tensor, Any]:
        image, measured = resize(_with_size_checked(tf.io.decode_png, encoded, dtype=tf.uint16))
        return tf.minimum(image * (255 / max_value), 255.0), measured

    return tf.cond(_is_deep(encoded), resize_deep, lambda: resize(decode_pixels(encoded)))


def take_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Resized pixels as whole numbers with 1 or 3 channels."""
    # Grey images have 1 channel, or 2 with alpha. The number is known only when the graph runs.
    is_grey = tf.shape(image)[-1] < 3
    image = tf.gather(image, tf.where(is_grey, [0, 0, 0], [0, 1, 2]), axis=-1)
    if channels == 1:
        image = tf.tensordot(image, tf.constant(_LUMA), 1)[..., None]
    # Rounded, because the images of a folder are stored as uint8, and the exported model must give
    # them the same scores.
    return tf.round(image)


def decode_exact(encoded: bytes, name: str) -> np.ndarray:
    """Decodes a colour image without resizing it.

    Args:
        encoded: The content of a PNG, JPEG, BMP or GIF file.
        name: Name of the image in the error message.

    Returns:
        uint8 array `(height, width, 3)`.

    Raises:
        InputError: Not such an image.
    """
    try:
        return tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()
    except tf.errors.OpError as error:
        raise InputError(
            "Every image must be a complete PNG, JPEG, BMP or GIF file. Replace or remove this "
            f"one. Received: {name}"
        ) from error


def decode_pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes an image without changing its size or its channels.

    Args:
        encoded: Scalar string tensor, the content of a PNG, JPEG, BMP or GIF file.

    Returns:
        uint8 tensor `(height, width, channels)`, channels 1 to 4.

    Raises:
        tf.errors.InvalidArgumentError: Not such an image, or more than `MAX_PIXELS` pixels.
    """
    image = _with_size_checked(tf.io.decode_image, encoded, expand_animations=False)
    return tf.ensure_shape(image, (None, None, None))


def _with_size_checked(decode: Callable, encoded: tf.Tensor, **arguments: object) -> tf.Tensor:
    """Runs `decode` if the image has at most `MAX_PIXELS` pixels, by its header."""
    pixels = tf.reduce_prod(tf.cast(_read_size(encoded), "int64"))
    limit = tf.debugging.assert_less_equal(
        pixels,
        tf.constant(MAX_PIXELS, "int64"),
        f"Expected an image of at most {MAX_PIXELS} pixels",
    )
    with tf.control_dependencies([limit]):
        return decode(encoded, **arguments)


def _is_deep(encoded: tf.Tensor) -> tf.Tensor:
    """Whether this is a PNG with 16 bits per channel."""
    is_png = tf.strings.substr(encoded, 0, 4) == b"\x89PNG"
    # Filled up, because a position beyond the end of a string is an error.
    header = tf.strings.substr(encoded, 0, _HEADER) + b"\0" * _HEADER
    return tf.logical_and(is_png, tf.strings.substr(header, 24, 1) == b"\x10")


def _read_size(encoded: tf.Tensor) -> tf.Tensor:
    """Reads height and width, in any order, from the header of an image file."""
    header = tf.strings.substr(encoded, 0, _HEADER) + b"\0" * _HEADER

    def read_at(begin: int, dtype: tf.DType, little_endian: bool) -> tf.Tensor:
        part = tf.strings.substr(header, begin, 2 * dtype.size)
        size = tf.io.decode_raw(part, dtype, little_endian=little_endian)
        return tf.abs(tf.cast(size, "int32"))  # the height of a BMP is negative if it is top-down

    def starts_with(magic: bytes) -> tf.Tensor:
        return tf.strings.substr(header, 0, len(magic)) == magic

    def fail() -> tf.Tensor:
        message = (
            "Expected the content of a PNG, JPEG, BMP or GIF file. "
            "Received: content of another format"
        )
        with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
            return tf.zeros(2, "int32")

    return tf.case(
        [
            (starts_with(b"\x89PNG"), lambda: read_at(16, tf.int32, False)),
            (starts_with(b"\xff\xd8\xff"), lambda: tf.image.extract_jpeg_shape(encoded)[:2]),
            (starts_with(b"GIF8"), lambda: read_at(6, tf.uint16, True)),
            (starts_with(b"BM"), lambda: read_at(18, tf.int32, True)),
        ],
        default=fail,
    )
