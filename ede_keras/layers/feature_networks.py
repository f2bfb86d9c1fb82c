"""Encoders and decoders of feature rows: Figure 3's parts where the image is a row of features."""

from typing import Any

import keras

from ede_keras.layers.feature_row import FeatureShape, join
from ede_keras.layers.networks import LEAKY_SLOPE

# Hidden units, as multiples of the base width, of the vector's layers and of the places'.
VECTOR_WIDTH = 16
PLACE_WIDTH = 2


def place_latent_dim(latent_dim: int) -> int:
    """Length of a place's part of z: half of the vector's."""
    return max(latent_dim // 2, 1)


def latent_length(shape: FeatureShape, latent_dim: int) -> int:
    """Length of z: the vector's `latent_dim`, and half of that for each place."""
    return latent_dim + shape.places * place_latent_dim(latent_dim)


def _through(x: Any, hidden: int, out: int, activation: str) -> Any:
    """Two layers; on places `(n, places, c)` the same ones for each."""
    x = keras.layers.LeakyReLU(negative_slope=LEAKY_SLOPE)(keras.layers.Dense(hidden)(x))
    return keras.layers.Dense(out, activation=activation)(x)


def build_feature_encoder(
    shape: FeatureShape, latent_dim: int, base_width: int = 32, name: str = "encoder"
) -> keras.Model:
    """Builds an encoder, E1 or E2, of feature rows: one part for the vector, one for every place.

    Args:
        shape: The parts of a row.
        latent_dim: Length of the vector's part of z; a place's has half of it.
        base_width: The hidden layers have 16 times as many units for the vector, twice as many for
            a place.
        name: Name of the model.

    Returns:
        A `keras.Model` from `(n, shape.length)` to `(n, latent_length(shape, latent_dim))` in
        (-1, 1).
    """
    rows = keras.Input((shape.length,), name="features")
    # Networks learn best from numbers of about 1.
    vectors, places = (
        keras.layers.Rescaling(1 / gain)(part)
        for part, gain in zip(shape.split(rows), shape.gains, strict=True)
    )
    vectors = _through(vectors, VECTOR_WIDTH * base_width, latent_dim, "tanh")
    places = _through(places, PLACE_WIDTH * base_width, place_latent_dim(latent_dim), "tanh")
    return keras.Model(rows, join(vectors, places), name=name)


def build_feature_decoder(
    shape: FeatureShape, latent_dim: int, base_width: int = 32, name: str = "decoder"
) -> keras.Model:
    """Builds a decoder, D1 or D2, of feature rows: the encoder mirrored, with linear outputs.

    Args:
        shape: The parts of a row.
        latent_dim: As for the encoder.
        base_width: As for the encoder.
        name: Name of the model.

    Returns:
        A `keras.Model` from `(n, latent_length(shape, latent_dim))` to `(n, shape.length)`.
    """
    latents = keras.Input((latent_length(shape, latent_dim),), name="latents")
    codes = FeatureShape(latent_dim, shape.height, shape.width, (place_latent_dim(latent_dim),))
    vectors, places = codes.split(latents)
    vectors = _through(vectors, VECTOR_WIDTH * base_width, shape.vector, "linear")
    places = _through(places, PLACE_WIDTH * base_width, shape.channels, "linear")
    parts = (
        keras.layers.Rescaling(gain)(part)
        for part, gain in zip((vectors, places), shape.gains, strict=True)
    )
    return keras.Model(latents, join(*parts), name=name)
