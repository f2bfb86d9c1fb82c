"""The principal components of normal images, and the normal image that is nearest among these."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn.decomposition import PCA

from ede_keras.layers.nearest import NearestCode

# The components leave at least 1% of the variance: what they cannot leave shows no defect.
EXPLAINED = 0.99
# Added to an image's mean brightness, so that a black image is not divided by 0.
DARKEST = 0.02


@keras.saving.register_keras_serializable(package="ede_keras")
class ImageMemory(NearestCode):
    """How far an image is from the nearest normal one, and what principal components leave of it.

    An image x in [-1, 1] is first made u = (x + 1) / √(its mean + 0.02), halfway between its own
    brightness and equal brightness for all. The distance is Euclidean between coordinates of u
    along the components. The components and the coordinates of normal images are weights, so they
    are saved and exported with the model. Before `adapt` everything is 0.

    Args:
        image_shape: `(size, size, channels)` of x.
        components: Most principal components. Of m images at most m / 2 are used, and no more than
            explain `EXPLAINED` of the variance.
        memory_size: Number of normal images that are kept.

    Call arguments:
        x: float32 `(n, size, size, channels)` in [-1, 1].

    Returns:
        `(distance, residual)`: float32 `(n,)`, and `(n, size, size)`, the mean absolute difference
        of u and its projection on the components over the channels.
    """

    def __init__(
        self, image_shape: Sequence[int], components: int, memory_size: int, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.image_shape = tuple(image_shape)
        self.components, self.memory_size = components, memory_size
        length = math.prod(self.image_shape)

        self.mean = self.add("mean", length)
        self.directions = self.add("directions", length, components)
        self.memory = self.add_codes("memory", memory_size, components)
        self.adapted = self.add("adapted")
        self.built = True

    def adapt(self, x: np.ndarray) -> None:
        """Learns the components of normal images, and keeps the images' coordinates.

        Args:
            x: float32 `(m, size, size, channels)` in [-1, 1], m at least 2.
        """
        u = np.asarray(self._normalize(x))
        k = min(self.components, len(u) // 2, u.shape[1])
        found = PCA(k, svd_solver="randomized", random_state=0).fit(u)
        k = min(k, 1 + np.count_nonzero(found.explained_variance_ratio_.cumsum() < EXPLAINED))
        directions = np.zeros(self.directions.shape, "float32")
        directions[:, :k] = found.components_[:k].T
        self.mean.assign(found.mean_)
        self.directions.assign(directions)
        # Repeated images fill a memory that is larger than needed; they change no distance.
        coordinates = (u - found.mean_) @ directions
        self.keep("memory", coordinates[np.resize(np.arange(len(u)), self.memory_size)])
        self.adapted.assign(1.0)

    def _normalize(self, x):
        """The rows u of images x."""
        flat = ops.reshape(x, (-1, math.prod(self.image_shape))) + 1
        return flat / ops.sqrt(ops.mean(flat, axis=1, keepdims=True) + DARKEST)

    def call(self, x: Any) -> tuple[Any, Any]:
        """The distance and the residual of each image."""
        centred = self._normalize(x) - self.mean
        coordinates = ops.matmul(centred, self.directions)
        nearest = self.find("memory", coordinates)
        distance = ops.sqrt(ops.sum(ops.square(coordinates - nearest), axis=-1))
        left = ops.abs(centred - ops.matmul(coordinates, ops.transpose(self.directions)))
        residual = ops.mean(ops.reshape(left, (-1, *self.image_shape)), axis=-1)
        return distance, self.adapted * residual

    def compute_output_shape(self, x_shape):
        """`(n,)` and `(n, size, size)`."""
        return (x_shape[0],), (x_shape[0], *self.image_shape[:2])

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {
            **super().get_config(),
            "image_shape": list(self.image_shape),
            "components": self.components,
            "memory_size": self.memory_size,
        }
