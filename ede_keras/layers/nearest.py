"""The nearest of many kept codes."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class NearestCode(keras.layers.Layer):
    """The base of layers that keep codes of normal images and find the one nearest to a code.

    The squared lengths of the kept codes are weights beside them: to sum them up for every batch
    would read all codes once more. They follow from the codes, so files do not have them.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self._lengths: dict[str, keras.Variable] = {}

    def add(self, name: str, *shape: int) -> keras.Variable:
        """A weight that starts at 0 and is no trained one."""
        return self.add_weight(shape, initializer="zeros", trainable=False, name=name)

    def add_codes(self, name: str, *shape: int) -> keras.Variable:
        """A weight for codes `(..., m, d)`."""
        self._lengths[name] = self.add(f"{name}_lengths", *shape[:-1])
        return self.add(name, *shape)

    def keep(self, name: str, codes: np.ndarray) -> None:
        """Sets the codes of a name."""
        getattr(self, name).assign(codes)
        self._lengths[name].assign(ops.sum(ops.square(getattr(self, name)), axis=-1))

    def find(self, name: str, codes: Any) -> Any:
        """The kept code nearest to each of `(..., n, d)`, of the same shape."""
        kept = getattr(self, name)
        products = tf.matmul(codes, kept, transpose_b=True)
        # Products find the nearest code fast, but give small distances with rounding errors: that
        # is why the code is returned and not its distance.
        # TensorFlow's argmin: Keras' uses operations that edge runtimes lack.
        apart = tf.expand_dims(self._lengths[name], -2) - 2 * products
        closest = tf.argmin(apart, axis=-1, output_type="int32")
        return tf.gather(kept, closest, batch_dims=len(kept.shape) - 2)

    def _saved(self) -> list[keras.Variable]:
        derived = {id(weight) for weight in self._lengths.values()}
        return [weight for weight in self.weights if id(weight) not in derived]

    def save_own_variables(self, store: Any) -> None:
        """Writes the weights, without the lengths."""
        for number, weight in enumerate(self._saved()):
            store[str(number)] = weight.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Reads the weights."""
        for number, weight in enumerate(self._saved()):
            weight.assign(store[str(number)])
        for name in self._lengths:
            self.keep(name, getattr(self, name))
