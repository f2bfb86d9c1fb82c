"""The layers of GPND's score: the volume of a manifold, and densities along and across it."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

# Bins of the histogram of residual norms.
BINS = 30
# The shapes β that a generalized normal distribution may have: 1 is Laplace's, 2 is normal.
SHAPES = np.linspace(0.4, 8, 400)
# No deviation of a latent entry is taken for smaller, and no log p(z) for lower.
LEAST_DEVIATION, LEAST_LOG_DENSITY = 1e-3, -1000.0
# The half step, in latent space, of the differences that make the Jacobian.
HALF_STEP = 1e-3
# The squared singular values are taken for at least about that; the logarithm needs it.
RIDGE = 1e-4


@keras.saving.register_keras_serializable(package="ede_keras")
class LogVolume(keras.layers.Wrapper):
    """Σ log s, s the singular values of a decoder's Jacobian, at latent vectors: `(n,)`."""

    def call(self, z: Any) -> Any:
        """½ log det(JᵀJ), a column of J from two decodings at a time."""

        def differentiate(direction: Any) -> Any:
            ahead, behind = (self.layer(z + s * direction, training=False) for s in (1, -1))
            return tf.reshape((ahead - behind) / (2 * HALF_STEP), (tf.shape(z)[0], -1))

        steps = HALF_STEP * tf.eye(z.shape[-1])
        columns = tf.map_fn(differentiate, steps, parallel_iterations=1)
        products = tf.einsum("inm,jnm->nij", columns, columns) + RIDGE * tf.eye(z.shape[-1])
        return 0.5 * tf.linalg.slogdet(products)[1]

    def compute_output_shape(self, z_shape):
        """`(n,)`."""
        return z_shape[:1]


@keras.saving.register_keras_serializable(package="ede_keras")
class Densities(keras.layers.Layer):
    """−log p(z) and −log p of the residual across the manifold, from `[z, r]`; `set` fits them.

    Args:
        latent_dim: Entries of z.
        across: The number m − n of directions across the manifold.
        **kwargs: As for `keras.layers.Layer`.
    """

    def __init__(self, latent_dim: int, across: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.latent_dim, self.across = latent_dim, across

        def add(name: str, shape: tuple[int, ...], start: str) -> keras.Variable:
            return self.add_weight(shape, start, trainable=False, name=name)

        self.center = add("center", (latent_dim,), "zeros")
        self.scale = add("scale", (latent_dim,), "ones")
        self.shape = add("shape", (latent_dim,), "ones")
        self.log_peak = add("log_peak", (latent_dim,), "zeros")
        self.lowest = add("lowest", (), "zeros")
        self.bin_width = add("bin_width", (), "ones")
        # With a bin below the histogram, and one above.
        self.log_bins = add("log_bins", (BINS + 2,), "zeros")
        self.built = True

    def set(self, z: np.ndarray, norms: np.ndarray) -> None:
        """Fits the densities to latent vectors `(n, latent_dim)` and residual norms `(n,)`."""
        z, norms = z.astype("float64"), norms.astype("float64")
        gamma = np.vectorize(math.gamma)
        first, second, third = (gamma(k / SHAPES) for k in (1, 2, 3))
        # E|z|² / E z² grows with β; where the tails are heavier than any, or lighter, β ends.
        deviation = np.maximum(z.std(axis=0), LEAST_DEVIATION)
        center = z.mean(axis=0)
        share = np.square(np.abs(z - center).mean(axis=0) / deviation)
        shape = np.interp(share, second**2 / (first * third), SHAPES)
        scale = deviation * np.sqrt(gamma(1 / shape) / gamma(3 / shape))
        self.center.assign(center)
        self.scale.assign(scale)
        self.shape.assign(shape)
        self.log_peak.assign(np.log(shape / (2 * scale * gamma(1 / shape))))
        width = max(np.ptp(norms) / BINS, 1e-6)
        lowest = norms.min()
        counts, _ = np.histogram(norms, BINS, (lowest, lowest + BINS * width))
        counts = np.maximum(np.pad(counts, 1), 1)
        self.lowest.assign(lowest)
        self.bin_width.assign(width)
        self.log_bins.assign(np.log(counts / (len(norms) * width)))

    def call(self, inputs: Any) -> tuple[Any, Any]:
        """Both, `(n,)`."""
        z, r = inputs
        powers = ops.power(ops.abs(z - self.center) / self.scale, self.shape)
        log_latent = ops.maximum(ops.sum(self.log_peak - powers, axis=-1), LEAST_LOG_DENSITY)
        # Compared as numbers, for a distance of many bins is no 32-bit integer.
        place = ops.clip(ops.floor((r - self.lowest) / self.bin_width) + 1, 0, BINS + 1)
        log_norm = ops.take(self.log_bins, ops.cast(place, "int32"))
        residual = (self.across - 1) * ops.log(ops.maximum(r, 1e-6)) - log_norm
        return -log_latent, residual

    def compute_output_shape(self, shapes):
        """`(n,)`, twice."""
        return shapes[1], shapes[1]

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), "latent_dim": self.latent_dim, "across": self.across}
