"""Makes training images lighter and darker, as far as they do not vary by themselves."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

# Of an image's brightness, 0 to 255; keeps the logarithm of a black image finite.
_DARKEST = 1.0


@keras.saving.register_keras_serializable(package="ede_keras")
class Lighting(keras.layers.Layer):
    """Multiplies the brightness of each image by a random factor exp(u), u uniform in [−r, r].

    Photographs of parts are often equally bright to a few percent, and a detector that has seen no
    others takes a dimmer lamp for a defect. `adapt` chooses r so that together with their own
    variation the images vary as if r were log(1 + amount); it is 0 if they vary more, and before
    `adapt`.

    Args:
        amount: The share by which images may be lighter or darker, at least 0.

    Call arguments:
        x: float32 `(n, height, width, channels)` in [-1, 1].
        step: int32 scalar; the factors depend on it alone.

    Returns:
        The varied images, of x's shape, in [-1, 1].
    """

    def __init__(self, amount: float, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.amount = amount

        def add(name):
            return self.add_weight((), initializer="zeros", trainable=False, name=name)

        self.range, self.adapted = add("range"), add("adapted")
        self.built = True

    def adapt(self, images: np.ndarray) -> None:
        """Sets r from images `(n, height, width, channels)`, 0 to 255."""
        brightness = np.array([np.mean(image, dtype="float64") for image in images])
        spread = np.log(brightness + _DARKEST).std()
        # A uniform variable in [−r, r] has the variance r² / 3.
        self.range.assign(math.sqrt(max(math.log1p(self.amount) ** 2 - 3 * spread**2, 0)))
        self.adapted.assign(1.0)

    def call(self, x: Any, step: Any) -> Any:
        """The varied images."""
        seed = ops.stack([1, ops.cast(step, "int32")])
        # Devices that share a batch draw the factors of all of it, and each takes its own.
        replica = tf.distribute.get_replica_context()
        devices, i = 1, 0
        if replica is not None:
            devices, i = replica.num_replicas_in_sync, replica.replica_id_in_sync_group
        n = ops.shape(x)[0]
        drawn = tf.random.stateless_uniform((devices * n, 1, 1, 1), seed, -1.0, 1.0)
        exponents = drawn[i * n : (i + 1) * n] * self.range
        return ops.minimum((x + 1) * ops.exp(exponents) - 1, 1.0)

    def vary_pixels(self, step: Any, images: Any) -> Any:
        """The same for float32 pixels from 0 to 255."""
        return (self(images / 127.5 - 1, step=step) + 1) * 127.5

    def compute_output_shape(self, x_shape, step_shape=None):
        """That of x."""
        return x_shape

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), "amount": self.amount}
