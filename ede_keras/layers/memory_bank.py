"""How far an image's code lies from those of normal images."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

# Directions in which the normal codes vary less than this share of their widest one (squared)
# are noise; they are not blown up.
SMALLEST_VARIANCE = 1e-5


@keras.saving.register_keras_serializable(package="ede_keras")
class NearestNormal(keras.layers.Layer):
    """The distance of a code to the nearest normal one, in whitened space, averaged over views.

    Each view of an image has its own whitening and its own memory of normal codes. Both are
    weights, so they are saved and exported with the model; before `fit` all distances are 0.

    Args:
        memory_size: Normal codes that are kept per view.

    Call arguments:
        codes: `(n, K, d)`: the codes of K views of n images.

    Returns:
        float32 `(n,)`, not negative.
    """

    def __init__(self, memory_size, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.memory_size = memory_size

    def build(self, codes_shape):
        _, views, width = codes_shape
        shapes = {
            "mean": (views, 1, width),
            "whitening": (views, width, width),
            "memory": (views, self.memory_size, width),
        }
        for name, shape in shapes.items():
            weight = self.add_weight(shape, initializer="zeros", trainable=False, name=name)
            setattr(self, name, weight)

    def fit(self, codes):
        """Sets whitening and memory from the codes `(n, K, d)` of normal images, n at least 2.

        More of them than the memory holds whiten all the same; a random choice is kept, always
        the same one.
        """
        codes = np.asarray(codes, "float64").swapaxes(0, 1)
        mean = codes.mean(axis=1, keepdims=True)
        covariance = np.einsum("kni,knj->kij", codes - mean, codes - mean) / codes.shape[1]
        variances, directions = np.linalg.eigh(covariance)
        variances = np.maximum(variances, 0) + SMALLEST_VARIANCE * variances[:, -1:] + 1e-12
        whitening = directions / np.sqrt(variances)[:, None]
        # Fewer codes than places fill these again and again, which moves no nearest one.
        order = np.random.default_rng(0).permutation(codes.shape[1])
        kept = codes[:, np.resize(order, self.memory_size)]
        self.mean.assign(mean)
        self.whitening.assign(whitening)
        self.memory.assign((kept - mean) @ whitening)

    def call(self, codes):
        codes = ops.transpose(codes, (1, 0, 2))
        white = ops.matmul(codes - self.mean, self.whitening)
        products = ops.matmul(white, ops.transpose(self.memory, (0, 2, 1)))
        lengths = ops.sum(ops.square(self.memory), axis=-1)[:, None]
        # Products find the nearest code fast; what they say of a small distance is rounding error.
        # TensorFlow's argmin, for Keras' has operations that edge runtimes lack.
        closest = tf.argmin(lengths - 2 * products, axis=-1, output_type="int32")
        nearest = tf.gather(self.memory, closest, batch_dims=1)
        squared = ops.sum(ops.square(white - nearest), axis=-1)
        return ops.mean(ops.sqrt(squared), axis=0)

    def compute_output_shape(self, codes_shape):
        return (codes_shape[0],)

    def get_config(self):
        return {**super().get_config(), "memory_size": self.memory_size}
