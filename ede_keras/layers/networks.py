"""The networks of Figure 3, and the layers before and after them that scale and resize images."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ede_keras.errors import InputError
from ede_keras.layers import convolutions
from ede_keras.layers.image_sizes import check_sizes

HALVING = {"kernel_size": 4, "strides": 2, "padding": "same"}
LEAKY_SLOPE = 0.2
# Keras' default (0.99) needs hundreds of steps to forget the initial statistics; a small class has
# one or two steps an epoch.
BATCH_NORM_MOMENTUM = 0.9


def _block(x, convolution, normalize=True, name=None):
    x = convolution(x)
    if normalize:
        # Devices that share a batch must share its statistics.
        shared = tf.distribute.get_strategy().num_replicas_in_sync > 1
        norm = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, synchronized=shared)
        x = norm(x)
    return keras.layers.LeakyReLU(negative_slope=LEAKY_SLOPE, name=name)(x)


def _tanh(x):
    return keras.layers.Activation("tanh")(x)


def build_encoder(
    image_size: int, channels: int, latent_dim: int, base_width: int = 32, name: str = "encoder"
) -> keras.Model:
    """Builds an encoder, E1 or E2: from image to latent vector (Figure 3A).

    Three convolutions of stride 2, the second and third with batch normalization, then one with a
    kernel as large as the remaining map, followed by tanh.

    Args:
        image_size: Height and width of the square image, a multiple of 8 from 16 up.
        channels: 1 or 3.
        latent_dim: Length of the latent vector.
        base_width: Filters of the first convolution; the next ones have 2 and 4 times as many.
        name: Name of the model.

    Returns:
        A `keras.Model` from `(n, image_size, image_size, channels)` in [-1, 1] to
        `(n, latent_dim)` in (-1, 1). Its layer "features" is the last hidden map,
        `(n, image_size / 8, image_size / 8, 4 · base_width)`.

    Reference: Section 3.2 and Figure 3.
    """
    check_sizes(image_size, channels)
    images = keras.Input((image_size, image_size, channels), name="images")
    x = _block(images, keras.layers.Conv2D(base_width, **HALVING), normalize=False)
    # No bias before a batch normalization, which subtracts it again.
    x = _block(x, keras.layers.Conv2D(2 * base_width, use_bias=False, **HALVING))
    x = _block(x, keras.layers.Conv2D(4 * base_width, use_bias=False, **HALVING), name="features")
    x = keras.layers.Flatten()(convolutions.Conv2D(latent_dim, image_size // 8)(x))
    return keras.Model(inputs=images, outputs=_tanh(x), name=name)


def build_decoder(
    image_size: int, channels: int, latent_dim: int, base_width: int = 32, name: str = "decoder"
) -> keras.Model:
    """Builds a decoder, D1 or D2: from latent vector to image (Figure 3B), the encoder mirrored.

    Args:
        image_size: Height and width of the square image, a multiple of 8 from 16 up.
        channels: 1 or 3.
        latent_dim: Length of the latent vector.
        base_width: Filters of the last hidden layer; the ones before have 2 and 4 times as many.
        name: Name of the model.

    Returns:
        A `keras.Model` from `(n, latent_dim)` to `(n, image_size, image_size, channels)` in
        (-1, 1).

    Reference: Section 3.2 and Figure 3.
    """
    check_sizes(image_size, channels)
    latents = keras.Input((latent_dim,), name="latents")
    x = keras.layers.Reshape((1, 1, latent_dim))(latents)
    whole = convolutions.Conv2DTranspose(4 * base_width, image_size // 8, use_bias=False)
    x = _block(x, whole)
    x = _block(x, keras.layers.Conv2DTranspose(2 * base_width, use_bias=False, **HALVING))
    x = _block(x, keras.layers.Conv2DTranspose(base_width, use_bias=False, **HALVING))
    x = convolutions.Conv2DTranspose(channels, **HALVING)(x)
    return keras.Model(inputs=latents, outputs=_tanh(x), name=name)


def find_features(encoder: Any) -> Any:
    """The output of an encoder's layer "features", its last hidden map `(n, h, w, filters)`.

    Raises:
        InputError: The encoder has no such layer.
    """
    try:
        return encoder.get_layer("features").output
    except (ValueError, AttributeError) as error:
        raise InputError(
            "The pretext reads E1's last hidden map: `encoder1` must be a functional keras.Model "
            'with a layer named "features". Give that name to a layer, or use pretext="none". '
            f"Received: {error}"
        ) from error


def build_preprocessor(image_shape: Sequence[int], image_size: int) -> keras.Model:
    """Builds the preprocessing: from raw pixels at their own size to the networks' input.

    Args:
        image_shape: `(height, width, channels)` of the images.
        image_size: Height and width of the networks' input.

    Returns:
        A `keras.Model` from `(n, *image_shape)` in 0 to 255 to
        `(n, image_size, image_size, channels)` in [-1, 1], float32.
    """
    images = keras.Input(image_shape, name="images")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    return keras.Model(images, fit_size(x, image_size), name="preprocessor")


def fit_size(images: Any, image_size: int) -> Any:
    """Resizes `(n, h, w, c)` images to `(n, image_size, image_size, c)`."""
    # Bilinear resizing reads only four pixels for each new one and would skip most of a large
    # image. Antialiased resizing does not compile under XLA, but an average over pixels does.
    pool = tuple(max(side // image_size, 1) for side in images.shape[1:3])
    if pool != (1, 1):
        images = keras.layers.AveragePooling2D(pool)(images)
    return resize(images, (image_size, image_size))


def shrink(images: Any, image_size: int) -> Any:
    """Resizes `(n, h, w, c)` images to `(n, image_size, image_size, c)`, every pixel counting.

    Unlike `fit_size`, also for images that are less than twice as large: they are enlarged to a
    multiple of the size first, and then averaged.
    """
    pool = tuple(-(-side // image_size) for side in images.shape[1:3])  # rounded up
    images = resize(images, [factor * image_size for factor in pool])
    return images if pool == (1, 1) else keras.layers.AveragePooling2D(pool)(images)


def resize(images: Any, size: Sequence[int]) -> Any:
    """Resizes `(n, h, w, c)` images bilinearly to `(n, *size, c)`, unless they have that size."""
    if tuple(images.shape[1:3]) == tuple(size):
        return images
    return keras.layers.Resizing(*size, interpolation="bilinear")(images)
