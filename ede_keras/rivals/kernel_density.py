"""Kernel density: the score is the negative logarithm of a density of normal images."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from ede_keras.rivals.fitted import Fitted, FittedLayer, squared_distances

# The kernels' deviation, as a share of the root of the pixels' summed variances.
BANDWIDTH = 0.2


@keras.saving.register_keras_serializable(package="ede_keras")
class Kernels(FittedLayer):
    """−ln of the mean of Gaussian kernels, without their constant; and the rows' weighted mean."""

    def add_own_weights(self) -> None:
        """The rows, the logarithm of each one's weight, and 2 h²."""
        self.memory = self.zeros("memory", self.memory_size, self.row_length)
        self.log_weights = self.zeros("log_weights", self.memory_size)
        self.width = self.add_weight((), "ones", trainable=False, name="width")

    def call(self, rows: Any) -> tuple[Any, Any]:
        """`(−ln Σ w exp(−‖a − b‖² / 2 h²), Σ of the rows with their part of the sum)`."""
        exponents = self.log_weights - squared_distances(rows, self.memory) / self.width
        again = ops.matmul(ops.softmax(exponents, axis=-1), self.memory)
        return -ops.logsumexp(exponents, axis=-1), again


@keras.saving.register_keras_serializable(package="ede_keras")
class KernelDensity(Fitted):
    """−ln of a density with a Gaussian kernel at each normal image, up to a constant."""

    layer_class = Kernels
    score_weights: ClassVar[Mapping[str, float]] = {"log_density": 1.0}

    def learn(self, rows: np.ndarray) -> None:
        """Keeps the rows; a row that fills the memory has no weight."""
        n = len(rows)
        is_own = np.arange(self.memory_size) < n
        self.fitted.memory.assign(np.resize(rows, self.fitted.memory.shape))
        self.fitted.log_weights.assign(np.where(is_own, -np.log(n), -1e9))
        self.fitted.width.assign(2 * BANDWIDTH**2 * max(rows.var(axis=0).sum(), 1e-12))
