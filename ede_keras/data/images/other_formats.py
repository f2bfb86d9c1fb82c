"""Image files that TensorFlow does not decode, by Pillow; it is in the extra `.[images]`."""

import io

import tensorflow as tf

from ede_keras.data.images.decoding import MAX_PIXELS
from ede_keras.errors import InputError

EXTENSIONS = (".tif", ".tiff", ".webp")


def import_pillow():
    """The modules `Image` and `ImageOps`.

    Raises:
        InputError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise InputError(
            f"Images in {', '.join(EXTENSIONS)} need Pillow: pip install 'ede-keras[images]'. "
            f"Received: {error}"
        ) from error
    return Image, ImageOps


def read_as_png(name):
    """The content of a file as that of a PNG, upright, of the same 8 or 16 bits; of several
    frames the first.

    Raises:
        ValueError, OSError: Not an image, too large, or pixels that are no whole numbers.
    """
    Image, ImageOps = import_pillow()
    with Image.open(name) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"Expected an image of at most {MAX_PIXELS} pixels")
        if image.mode == "F":
            raise ValueError("Expected pixels of 8 or 16 bits. Received: floating point")
        image = ImageOps.exif_transpose(image)
        if image.mode == "P":
            image = image.convert("RGB")
        elif image.mode not in ("1", "L", "LA", "I", "I;16", "RGB", "RGBA"):
            image = image.convert("I;16" if image.mode.startswith("I") else "RGB")
        png = io.BytesIO()
        image.save(png, "PNG", compress_level=0)  # read again at once
    return png.getvalue()


def read_in_graph(name):
    """`read_as_png` as an operation, from a scalar string tensor to another."""
    return tf.ensure_shape(tf.numpy_function(read_as_png, [name], tf.string), ())
