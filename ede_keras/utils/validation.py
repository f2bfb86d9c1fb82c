"""Checks of arguments and of images, whose errors say what was expected and what came."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from ede_keras.errors import InputError


def check_choice(argument, value, allowed):
    """Raises unless the value is one of those allowed."""
    if value not in allowed:
        raise InputError(
            f"`{argument}` must be one of {', '.join(allowed)}. Received: {argument}={value!r}"
        )


def check_range(argument, fits, value, expected):
    """Raises unless the value fits; `expected` says in words what does."""
    if not fits:
        raise InputError(f"`{argument}` must be {expected}. Received: {argument}={value}")


def check_precision():
    """Raises unless the precision policy is float32."""
    policy = keras.config.dtype_policy()
    if policy.name != "float32":
        raise InputError(
            "Mixed precision is not supported: scores are small differences, which half the "
            "digits do not hold. Call keras.config.set_dtype_policy('float32') before the model "
            f"is built. Received: dtype_policy={policy.name!r}"
        )


def check_images(images, image_shape):
    """Raises for images that the model cannot take; warns of ones that look scaled to [0, 1].

    Arrays and tensors are looked at in full, a `tf.data.Dataset` by its element's shape alone:
    reading it would cost a pass.

    Args:
        images: Array or tensor `(n, *image_shape)`, any numeric dtype, 0 to 255; or a
            `tf.data.Dataset` of batches of these, alone or first in a tuple. Anything else is
            left for Keras to judge.
        image_shape: `(height, width, channels)` that the model was built for.

    Raises:
        InputError: Wrong shape, no image, no numbers, or pixels that are not finite.
    """
    if isinstance(images, tf.data.Dataset):
        spec = images.element_spec
        spec = spec[0] if isinstance(spec, tuple) else spec
        if isinstance(spec, tf.TensorSpec) and spec.shape.rank is not None:
            _check_shape(spec.shape.as_list(), image_shape)
    elif isinstance(images, np.ndarray | tf.Tensor):
        _check_shape(list(images.shape), image_shape)
        _check_pixels(np.asarray(images))


def _check_shape(shape, image_shape):
    expected = [None, *image_shape]
    fits = len(shape) == 4 and all(
        e is None or s is None or s == e for s, e in zip(shape, expected, strict=True)
    )
    if not fits:
        raise InputError(
            f"Expected images of shape {_spell(expected)}, pixels from 0 to 255 (build the model "
            f"with another `image_shape`, or resize the images). Received: {_spell(shape)}"
        )
    if shape[0] == 0:
        raise InputError("Expected at least one image. Received: 0 images")


def _spell(shape):
    return "(" + ", ".join("n" if s is None else str(s) for s in shape) + ")"


def _check_pixels(images):
    real = np.issubdtype(images.dtype, np.integer) or np.issubdtype(images.dtype, np.floating)
    if images.dtype != bool and not real:
        raise InputError(f"Expected pixels that are numbers. Received: dtype {images.dtype}")
    if np.issubdtype(images.dtype, np.inexact):
        # The sum of finite float32 pixels fits float64, and it takes no copy of the images.
        broken = 0
        if not np.isfinite(images.sum(dtype="float64")):
            broken = sum(not np.isfinite(image).all() for image in images)
        if broken:
            raise InputError(
                f"Expected finite pixels. Received: {broken} of {len(images)} images with NaN or "
                "infinite pixels; remove or repair them"
            )
    if images.max() <= 1:
        warnings.warn(
            "The images' highest pixel is at most 1; the model takes raw pixels from 0 to 255 "
            "and scales them itself. Multiply images in [0, 1] by 255.",
            stacklevel=4,
        )
