"""PCA: the score is what the principal components of normal images leave."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from sklearn.decomposition import PCA

from ede_keras.rivals.fitted import Fitted, FittedLayer

# The share of the variance that the components keep, and the most of them.
KEPT_VARIANCE = 0.8
MOST_COMPONENTS = 256


@keras.saving.register_keras_serializable(package="ede_keras")
class Components(FittedLayer):
    """The mean squared residual of the projection on components, and the projection."""

    def add_own_weights(self) -> None:
        """The mean and the components, as columns."""
        self.mean = self.zeros("mean", self.row_length)
        self.directions = self.zeros("directions", self.row_length, MOST_COMPONENTS)

    def call(self, rows: Any) -> tuple[Any, Any]:
        """`(residual, projection)`."""
        centred = rows - self.mean
        again = ops.matmul(ops.matmul(centred, self.directions), ops.transpose(self.directions))
        return ops.mean(ops.square(centred - again), axis=-1), again + self.mean


@keras.saving.register_keras_serializable(package="ede_keras")
class PrincipalComponents(Fitted):
    """The squared residual of principal components, which keep 80% of the pixels' variance."""

    layer_class = Components
    score_weights: ClassVar[Mapping[str, float]] = {"residual": 1.0}

    def learn(self, rows: np.ndarray) -> None:
        """scikit-learn's PCA."""
        most = min(MOST_COMPONENTS, *rows.shape)
        found = PCA(most, svd_solver="randomized", random_state=0).fit(rows)
        total = rows.var(axis=0, ddof=1).sum() or 1.0
        kept = np.cumsum(found.explained_variance_) / total
        k = min(most, 1 + np.count_nonzero(kept < KEPT_VARIANCE))
        directions = np.zeros(self.fitted.directions.shape, "float32")
        directions[:, :k] = found.components_[:k].T
        self.fitted.mean.assign(found.mean_)
        self.fitted.directions.assign(directions)
