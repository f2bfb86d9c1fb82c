"""Networks that several methods share: E1's convolutions with a linear head, and losses."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from ede_keras.layers import networks


def build_with_head(
    image_size: int, channels: int, units: int, base_width: int, name: str
) -> keras.Model:
    """Builds E1's convolutions with a linear layer: from images to `(features, outputs)`.

    With one unit it is a discriminator, whose output is a logit.

    Args:
        image_size: As for `build_encoder`.
        channels: As for `build_encoder`.
        units: Length of the outputs.
        base_width: As for `build_encoder`.
        name: Name of the model.

    Returns:
        A `keras.Model` to the last hidden map `(n, h, w, filters)` and the outputs `(n, units)`.
    """
    trunk = networks.build_encoder(image_size, channels, units, base_width, name="trunk")
    features = networks.find_features(trunk)
    outputs = keras.layers.Dense(units)(keras.layers.Flatten()(features))
    return keras.Model(trunk.input, [features, outputs], name=name)


def build_latent_discriminator(latent_dim: int, name: str) -> keras.Model:
    """Builds dense layers from latent vectors `(n, latent_dim)` to a logit `(n, 1)`."""
    latents = keras.Input((latent_dim,), name="latents")
    z = latents
    for units in (128, 64, 32):
        z = keras.layers.Dense(units)(z)
        z = keras.layers.LeakyReLU(negative_slope=networks.LEAKY_SLOPE)(z)
    return keras.Model(latents, keras.layers.Dense(1)(z), name=name)


def real_loss(logits: Any) -> Any:
    """The mean cross entropy of the decision "real", −ln σ(a)."""
    return ops.mean(ops.softplus(-logits))


def fake_loss(logits: Any) -> Any:
    """The mean cross entropy of the decision "not real", −ln(1 − σ(a))."""
    return ops.mean(ops.softplus(logits))


def gradient_penalty(critic: Callable[[Any], Any], points: Any) -> Any:
    """(‖∇C‖ − 1)² of a critic C at points `(n, ...)`, averaged over them."""
    with tf.GradientTape() as tape:
        tape.watch(points)
        values = critic(points)
    squares = ops.square(tape.gradient(values, points))
    # The root of 0 would have no finite gradient.
    norms = ops.sqrt(ops.sum(squares, axis=tuple(range(1, len(points.shape)))) + 1e-12)
    return ops.mean(ops.square(norms - 1))
