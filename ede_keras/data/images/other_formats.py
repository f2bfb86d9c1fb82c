"""TIFF and WebP, which TensorFlow does not decode: Pillow converts them to PNG."""

import io
from typing import IO

import tensorflow as tf

from ede_keras.data.images.decoding import MAX_PIXELS
from ede_keras.utils.files import StrPath

EXTENSIONS = (".tif", ".tiff", ".webp")


def read_as_png(source: StrPath | bytes | IO[bytes]) -> bytes:
    """Converts an image file to PNG, upright by its EXIF orientation.

    The PNG has the same 8 or 16 bits per channel. Of several frames only the first is taken.

    Args:
        source: Path of the image file, or a binary file object.

    Returns:
        The content of a PNG file.

    Raises:
        ValueError: The image is too large, or its pixels are floating-point numbers.
        OSError: Not a complete image file, or it cannot be read.
    """
    from PIL import Image, ImageOps

    with Image.open(source) as file:
        if file.width * file.height > MAX_PIXELS:
            raise ValueError(f"Expected an image of at most {MAX_PIXELS} pixels")
        if file.mode == "F":
            raise ValueError("Expected pixels of 8 or 16 bits. Received: floating point")
        image = ImageOps.exif_transpose(file)
        if image.mode == "P":
            image = image.convert("RGB")
        elif image.mode not in ("1", "L", "LA", "I", "I;16", "RGB", "RGBA"):
            image = image.convert("I;16" if image.mode.startswith("I") else "RGB")
        png = io.BytesIO()
        image.save(png, "PNG", compress_level=0)  # fast, because it is decoded again right away
    return png.getvalue()


def read_in_graph(path: tf.Tensor) -> tf.Tensor:
    """Runs `read_as_png` as a TensorFlow operation.

    Args:
        path: Scalar string tensor, path of the image file.

    Returns:
        Scalar string tensor, the content of a PNG file.
    """
    return tf.ensure_shape(tf.numpy_function(read_as_png, [path], tf.string), ())
