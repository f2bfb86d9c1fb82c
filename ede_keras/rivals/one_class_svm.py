"""One-class SVM: the score is the distance from the boundary that encloses normal images."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from ede_keras.rivals.fitted import Fitted, FittedLayer, squared_distances

# The share of training images outside of the boundary, and γ as a multiple of scikit-learn's
# "scale".
NU, GAMMA = 0.1, 3.0


@keras.saving.register_keras_serializable(package="ede_keras")
class Boundary(FittedLayer):
    """ρ − Σ α exp(−γ ‖a − s‖²) over support vectors s; and their weighted mean, the pre-image."""

    def add_own_weights(self) -> None:
        """The support vectors, α, γ and ρ."""
        self.memory = self.zeros("memory", self.memory_size, self.row_length)
        self.alpha = self.zeros("alpha", self.memory_size)
        self.gamma = self.add_weight((), "ones", trainable=False, name="gamma")
        self.rho = self.zeros("rho")

    def call(self, rows: Any) -> tuple[Any, Any]:
        """`(score, pre-image)`; Mika et al., NIPS 1998, have the pre-image's formula."""
        kernels = self.alpha * ops.exp(-self.gamma * squared_distances(rows, self.memory))
        total = ops.sum(kernels, axis=-1)
        again = ops.matmul(kernels, self.memory) / (total[:, None] + 1e-12)
        return self.rho - total, again


@keras.saving.register_keras_serializable(package="ede_keras")
class OneClassSVM(Fitted):
    """A one-class SVM with a Gaussian kernel on the pixels.

    Reference: Schölkopf et al., "Estimating the support of a high-dimensional distribution", 2001.
    """

    layer_class = Boundary
    score_weights: ClassVar[Mapping[str, float]] = {"outside": 1.0}

    def learn(self, rows: np.ndarray) -> None:
        """scikit-learn's OneClassSVM."""
        from sklearn.svm import OneClassSVM as Machine  # slow to import

        gamma = GAMMA / (rows.shape[1] * max(float(rows.var()), 1e-12))
        machine = Machine(nu=NU, gamma=gamma).fit(rows)
        n = len(machine.support_vectors_)
        memory = np.zeros(self.fitted.memory.shape, "float32")
        alpha = np.zeros(self.memory_size, "float32")
        memory[:n], alpha[:n] = machine.support_vectors_, machine.dual_coef_[0]
        self.fitted.memory.assign(memory)
        self.fitted.alpha.assign(alpha)
        self.fitted.gamma.assign(gamma)
        self.fitted.rho.assign(machine.offset_[0])
