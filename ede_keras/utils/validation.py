"""Checks of Keras' settings and of images."""

import warnings
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from ede_keras.errors import InputError


def check_keras_settings() -> None:
    """Checks that Keras's precision policy is float32, and its image format channels_last.

    Raises:
        InputError: Another policy is set, such as mixed_float16, or channels_first.
    """
    if keras.config.image_data_format() != "channels_last":
        raise InputError(
            "Images must be (height, width, channels): call "
            "keras.config.set_image_data_format('channels_last') before you build the model. "
            f"Received: image_data_format={keras.config.image_data_format()!r}"
        )
    policy = keras.config.dtype_policy()
    if policy.name != "float32":
        raise InputError(
            "Scores are small differences, which need the full precision of float32. Call "
            "keras.config.set_dtype_policy('float32') before you build the model. To train in "
            "mixed precision, call `compile` with precision='mixed_bfloat16' (in the command: "
            f"--precision). Received: dtype_policy={policy.name!r}"
        )


def check_images(images: object, image_shape: Sequence[int | None]) -> None:
    """Checks that a model can take these images; warns if their pixels are not in 0 to 255.

    For arrays and tensors, shape and pixels are checked; for a `tf.data.Dataset`, the shape. The
    pixels of its first batch are checked when it is read (see `pipeline.stream`).

    Args:
        images: Array or tensor `(n, *image_shape)` of any numeric dtype, 0 to 255; or a
            `tf.data.Dataset` of such batches, or of tuples that start with such a batch. Objects
            of Keras are not checked.
        image_shape: `(height, width, channels)` that the model was built for. None matches any
            size.

    Raises:
        InputError: The shape is wrong, there is no image, the pixels are not numbers or not
            finite, or the images are in a list.
    """
    if isinstance(images, list | tuple):
        raise InputError(
            f"Expected an array of images {_format_shape([None, *image_shape])}: stack them with "
            "np.stack(images), after resizing them to one size. To score images of any size, use "
            "ede_keras.score_images(model, images). "
            f"Received: a {type(images).__name__} of {len(images)}"
        )
    if isinstance(images, tf.data.Dataset):
        spec = images.element_spec
        spec = spec[0] if isinstance(spec, tuple) else spec
        if isinstance(spec, tf.TensorSpec) and spec.shape.rank is not None:
            _check_shape(spec.shape.as_list(), image_shape)
    elif isinstance(images, np.ndarray | tf.Tensor):
        _check_shape(list(images.shape), image_shape)
        _check_pixels(np.asarray(images))


def _check_shape(shape: Sequence[int | None], image_shape: Sequence[int | None]) -> None:
    expected = [None, *image_shape]
    fits = len(shape) == 4 and all(
        e is None or s is None or s == e for s, e in zip(shape, expected, strict=True)
    )
    if not fits:
        raise InputError(
            f"Expected images of shape {_format_shape(expected)} with pixels from 0 to 255. Resize "
            "the images, or build the model with another `image_shape`. To score images of any "
            "size, use ede_keras.score_images(model, images). "
            f"Received: {_format_shape(shape)}"
        )
    if shape[0] == 0:
        raise InputError("Expected at least one image. Received: 0 images")


def _format_shape(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("n" if s is None else str(s) for s in shape) + ")"


def _check_pixels(images: np.ndarray) -> None:
    if images.dtype.kind not in "buif":
        raise InputError(
            f"Expected pixels that are numbers, such as uint8. Received: dtype {images.dtype}"
        )
    # A sum of finite float32 pixels is finite in float64, and needs no copy of the images.
    if images.dtype.kind == "f" and not np.isfinite(images.sum(dtype="float64")):
        broken = sum(not np.isfinite(image).all() for image in images)
        if broken:
            raise InputError(
                "Expected finite pixels. Remove or repair the images with NaN or infinite pixels. "
                f"Received: {broken} of {len(images)} images with NaN or infinite pixels"
            )
    warn_of_range(images.min(), images.max())


def warn_of_range(lowest: float, highest: float) -> None:
    """Warns if the pixels of some images are not raw pixels in 0 to 255.

    Args:
        lowest: Their lowest pixel.
        highest: Their highest pixel.
    """
    expects = "The model expects raw pixels from 0 to 255 and scales them itself"
    if lowest < 0:
        remedy = "turn images in [-1, 1] into (images + 1) * 127.5"
        said = f"The images' lowest pixel is {lowest:.6g}. {expects}: {remedy}."
    elif highest <= 1:
        said = (
            f"The images' highest pixel is at most 1. {expects}: multiply images in [0, 1] by 255."
        )
    elif highest > 255:
        remedy = "multiply images of 12 bits by 255 / 4095, of 16 bits by 255 / 65535"
        said = f"The images' highest pixel is {highest:.6g}. {expects}: {remedy}."
    else:
        return
    warnings.warn(said, stacklevel=5)
