"""The distance of an image's codes to those of normal images."""

from typing import Any

import keras
import numpy as np
from keras import ops

from ede_keras.layers.nearest import NearestCode

# Directions whose variance is below this share of the largest variance are treated as noise and
# not amplified.
SMALLEST_VARIANCE = 1e-5


@keras.saving.register_keras_serializable(package="ede_keras")
class MemoryBank(NearestCode):
    """Codes of normal images, and the distance to the nearest one, averaged over views.

    The distance is Euclidean in a whitened space. Each view of an image has its own whitening and
    its own codes. Both are weights, so they are saved and exported with the model. Before `adapt`
    all distances are 0.

    Args:
        memory_size: Number of codes that are kept per view.

    Call arguments:
        codes: float32 `(n, K, d)`: the codes of K views of n images.

    Returns:
        float32 `(n,)`, not negative.
    """

    def __init__(self, memory_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.memory_size = memory_size

    def build(self, codes_shape):
        """Creates the weights for codes `(n, K, d)`."""
        _, views, width = codes_shape
        self.mean = self.add("mean", views, 1, width)
        self.whitening = self.add("whitening", views, width, width)
        self.memory = self.add_codes("memory", views, self.memory_size, width)

    def adapt(self, codes: np.ndarray) -> None:
        """Sets the whitening and the kept codes from those of normal images.

        All codes count for the whitening. If there are more than `memory_size`, a random subset
        is kept, always the same one.

        Args:
            codes: `(n, K, d)`, n at least 2.
        """
        codes = np.asarray(codes, "float64").swapaxes(0, 1)
        mean = codes.mean(axis=1, keepdims=True)
        covariance = np.einsum("kni,knj->kij", codes - mean, codes - mean) / codes.shape[1]
        variances, directions = np.linalg.eigh(covariance)
        variances = np.maximum(variances, 0) + SMALLEST_VARIANCE * variances[:, -1:] + 1e-12
        whitening = directions / np.sqrt(variances)[:, None]
        # Repeated codes fill a bank that is larger than needed; they change no distance.
        order = np.random.default_rng(0).permutation(codes.shape[1])
        kept = codes[:, np.resize(order, self.memory_size)]
        self.mean.assign(mean)
        self.whitening.assign(whitening)
        self.keep("memory", (kept - mean) @ whitening)

    def call(self, codes: Any) -> Any:
        """The mean over the views of the distance to the nearest kept code."""
        codes = ops.transpose(codes, (1, 0, 2))
        white = ops.matmul(codes - self.mean, self.whitening)
        squared = ops.sum(ops.square(white - self.find("memory", white)), axis=-1)
        return ops.mean(ops.sqrt(squared), axis=0)

    def compute_output_shape(self, codes_shape):
        """`(n,)`."""
        return (codes_shape[0],)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), "memory_size": self.memory_size}
