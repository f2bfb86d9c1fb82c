"""Arrays of pixels of any size, read as files are read."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ede_keras.data.images.decoding import take_channels
from ede_keras.errors import InputError


def fit_image(image: np.ndarray, image_shape: Sequence[int], name: str = "an image") -> np.ndarray:
    """Brings an image to the shape that a model takes, with the pixels that its file would have.

    Args:
        image: `(height, width)` or `(height, width, c)`, c from 1 to 4, of any numeric dtype, 0 to
            255. The last of 2 or 4 channels is alpha, which is dropped.
        image_shape: `(height, width, channels)` of the result, channels 1 or 3.
        name: Name of the image in the error message.

    Returns:
        float32 of shape `image_shape`. An image that is resized or loses its colours has whole
        numbers, see `decoding.decode_image`.

    Raises:
        InputError: It has another shape, no pixels, or pixels that are not numbers.
    """
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    fits = pixels.ndim == 3 and 1 <= pixels.shape[-1] <= 4 and pixels.size
    if not fits or pixels.dtype.kind not in "buif":
        raise InputError(
            f"Expected {name} to be an array of numbers (height, width) or (height, width, "
            f"channels), 1 to 4 channels. Received: {np.asarray(image).dtype} of shape "
            f"{np.shape(image)}"
        )
    pixels = pixels.astype("float32")
    if pixels.shape == tuple(image_shape):
        return pixels
    resized = tf.image.resize(pixels, image_shape[:2], antialias=True)
    return take_channels(resized, image_shape[-1]).numpy()
