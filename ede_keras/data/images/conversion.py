"""Converts to PNG, with Pillow, image files that TensorFlow would not decode as viewers do."""

import io
import os

import numpy as np
import tensorflow as tf
from PIL import Image

from ede_keras.data.images.inspection import (
    FORMATS,
    ImageFacts,
    ignore_pillow_warnings,
    inspect_image,
)
from ede_keras.errors import UnreadableImage
from ede_keras.utils.files import StrPath

# The operation that turns an image upright, by EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def convert_to_png(source: StrPath | bytes, facts: ImageFacts | None = None) -> bytes:
    """Converts an image file to PNG, upright by its EXIF orientation.

    Palettes become colours. 16 bits stay 16 bits if the file does not say which value is white
    (PNG, TIFF), else they become 8. Of several frames only the first is taken.

    Args:
        source: Path of the image file, or its content.
        facts: What `inspect_image` returns for it, if it is known already.

    Returns:
        The content of a PNG file.

    Raises:
        UnreadableImage: `inspect_image` finds a problem, or the file is damaged.
    """
    facts = facts or inspect_image(source)
    if facts.problem:
        raise UnreadableImage(facts.problem)
    try:
        return _convert(source, facts)
    except Exception as error:  # Pillow raises many types of errors on damaged files
        raise UnreadableImage("damaged") from error


def _convert(source: StrPath | bytes, facts: ImageFacts) -> bytes:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with ignore_pillow_warnings():
        opened = Image.open(file, formats=FORMATS)
    with opened:
        image: Image.Image = opened
        image.load()
        if facts.orientation in _TURNS:
            image = image.transpose(_TURNS[facts.orientation])
        if image.mode.startswith("I"):
            pixels = np.asarray(image)
            if facts.bits == 8:  # Pillow has scaled it to 0-65535
                pixels = np.round(pixels / 257).astype(np.uint8)
            image = Image.fromarray(pixels.astype(np.uint8 if facts.bits == 8 else np.uint16))
        elif image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
            image = image.convert("RGB")
        png = io.BytesIO()
        image.save(png, "PNG", compress_level=0)  # fast, because it is decoded again right away
    return png.getvalue()


def make_decodable(content: bytes, facts: ImageFacts | None = None) -> bytes:
    """The content of an image file, converted to PNG unless TensorFlow decodes it correctly.

    Args:
        content: The content of the file.
        facts: As in `convert_to_png`.

    Returns:
        The content of a PNG or JPEG file.

    Raises:
        UnreadableImage: As in `convert_to_png`.
    """
    facts = facts or inspect_image(content)
    return content if facts.is_plain else convert_to_png(content, facts)


def convert_in_graph(path: tf.Tensor) -> tf.Tensor:
    """Runs `convert_to_png` as a TensorFlow operation.

    Args:
        path: Scalar string tensor, path of the image file.

    Returns:
        Scalar string tensor, the content of a PNG file.
    """

    def convert(path: bytes) -> bytes:
        return convert_to_png(os.fsdecode(path))  # a name may not be valid UTF-8

    return tf.ensure_shape(tf.numpy_function(convert, [path], tf.string), ())
