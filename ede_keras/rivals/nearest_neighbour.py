"""Nearest neighbour: the score is the distance to the nearest normal image."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from ede_keras.layers.nearest import NearestCode
from ede_keras.rivals.fitted import Fitted, FittedLayer


@keras.saving.register_keras_serializable(package="ede_keras")
class NearestRow(FittedLayer, NearestCode):
    """The Euclidean distance to the nearest of the rows in memory, and that row."""

    def add_own_weights(self) -> None:
        """The rows."""
        self.memory = self.add_codes("memory", self.memory_size, self.row_length)

    def call(self, rows: Any) -> tuple[Any, Any]:
        """`(distance, nearest row)`."""
        nearest = self.find("memory", rows)
        return ops.sqrt(ops.sum(ops.square(rows - nearest), axis=-1)), nearest


@keras.saving.register_keras_serializable(package="ede_keras")
class NearestNeighbour(Fitted):
    """The Euclidean distance of the pixels to those of the nearest normal image."""

    layer_class = NearestRow
    score_weights: ClassVar[Mapping[str, float]] = {"distance": 1.0}

    def learn(self, rows: np.ndarray) -> None:
        """Keeps the rows; repeated ones fill the memory, and change no distance."""
        self.fitted.keep("memory", np.resize(rows, self.fitted.memory.shape))
