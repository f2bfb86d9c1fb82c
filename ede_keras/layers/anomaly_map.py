"""The anomaly map of an image from what deviates at each of its places."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

# Images that are added to the held-out ones in the statistics of a pixel; chosen on drawn parts.
PRIOR = 2


@keras.saving.register_keras_serializable(package="ede_keras")
class PlaceMap(keras.layers.Layer):
    """Sums maps of places, each brought to scale by held-out normal images, at the images' size.

    The value at a place is Σ (t_k − m_k) / s_k: in deviations of normal places from their mean.
    Before `adapt` m_k is 0 and s_k is 1.

    Args:
        names: Names of the maps.
        size: `(height, width)` of the images.

    Call arguments:
        maps: float32 `(n, h, w)` by name.

    Returns:
        float32 `(n, height, width)`.
    """

    def __init__(self, names: Sequence[str], size: Sequence[int], **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.names, self.size = list(names), tuple(size)

        def add(name, value):
            shape = (len(self.names),)
            return self.add_weight(shape, initializer=value, trainable=False, name=name)

        self.center, self.scale = add("center", "zeros"), add("scale", "ones")
        self.built = True

    def adapt(self, maps: Mapping[str, np.ndarray]) -> None:
        """Sets centres and scales from the maps of held-out normal images, `(n, h, w)` by name."""
        values = np.stack([np.asarray(maps[name], "float64").ravel() for name in self.names])
        deviation = values.std(axis=1)
        self.center.assign(values.mean(axis=1))
        self.scale.assign(np.where(deviation > 0, deviation, 1.0))

    def call(self, maps: Mapping[str, Any]) -> Any:
        """The anomaly map."""
        scaled = [
            (maps[name] - self.center[k]) / self.scale[k] for k, name in enumerate(self.names)
        ]
        # Not a layer in a layer: Keras would not take that one as built, and build the model anew.
        resized = ops.image.resize(ops.expand_dims(sum(scaled), -1), self.size)
        return ops.squeeze(resized, axis=-1)

    def compute_output_shape(self, maps_shape):
        """`(n, height, width)`."""
        return (next(iter(maps_shape.values()))[0], *self.size)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), "names": self.names, "size": list(self.size)}


@keras.saving.register_keras_serializable(package="ede_keras")
class ResidualMap(keras.layers.Layer):
    """Residuals of a reconstruction in deviations of normal images, at the images' size.

    Each pixel of the networks' image has its own mean m and deviation s among held-out normal
    images, so edges that are always reconstructed poorly do not count as anomalous. The value is
    (residual − m) / s. Before `adapt` m is 0 and s is 1: the residual itself.

    Args:
        residual_size: `(h, w)` of the residuals.
        size: `(height, width)` of the images.

    Call arguments:
        residuals: float32 `(n, h, w)`.

    Returns:
        float32 `(n, height, width)`.
    """

    def __init__(self, residual_size: Sequence[int], size: Sequence[int], **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.residual_size, self.size = tuple(residual_size), tuple(size)

        def add(name, value):
            shape = self.residual_size
            return self.add_weight(shape, initializer=value, trainable=False, name=name)

        self.center, self.scale = add("center", "zeros"), add("scale", "ones")
        self.built = True

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights; older files have none, and their maps are plain residuals."""
        if len(store.keys()):
            super().load_own_variables(store)

    def adapt(self, maps: Mapping[str, np.ndarray]) -> None:
        """Sets each pixel's mean and deviation from the `residual` of held-out normal images.

        They count as if `PRIOR` more images had the mean and the deviation of all pixels: a few
        images say little about a single pixel.
        """
        values = np.asarray(maps["residual"], "float64")
        n = len(values) + PRIOR
        center = (values.sum(0) + PRIOR * values.mean()) / n
        variance = (np.square(values - center).sum(0) + PRIOR * values.var()) / n
        self.center.assign(center)
        self.scale.assign(np.where(variance > 0, np.sqrt(variance), 1.0))

    def call(self, residuals: Any) -> Any:
        """The anomaly map."""
        scaled = (residuals - self.center) / self.scale
        resized = ops.image.resize(ops.expand_dims(scaled, -1), self.size)
        return ops.squeeze(resized, axis=-1)

    def compute_output_shape(self, residuals_shape):
        """`(n, height, width)`."""
        return (residuals_shape[0], *self.size)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        sizes = {"residual_size": list(self.residual_size), "size": list(self.size)}
        return {**super().get_config(), **sizes}
