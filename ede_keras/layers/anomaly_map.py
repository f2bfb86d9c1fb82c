"""The anomaly map of an image from what deviates at each of its places."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

# Images that are added to the normal ones in the statistics of a pixel; chosen on drawn parts.
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

    learns_from_held_out = True  # places of training images are in the memory

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
        resized = ops.image.resize(ops.expand_dims(self.combine(scaled), -1), self.size)
        return ops.squeeze(resized, axis=-1)

    def combine(self, scaled: Sequence[Any]) -> Any:
        """One map `(n, h, w)` of those brought to scale: their sum."""
        return sum(scaled)

    def compute_output_shape(self, maps_shape):
        """`(n, height, width)`."""
        return (next(iter(maps_shape.values()))[0], *self.size)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), "names": self.names, "size": list(self.size)}


@keras.saving.register_keras_serializable(package="ede_keras")
class LargestMap(PlaceMap):
    """`PlaceMap`, but a place deviates as much as in the map in which it deviates most."""

    def combine(self, scaled: Sequence[Any]) -> Any:
        """One map `(n, h, w)` of those brought to scale: the largest value at each place."""
        return functools.reduce(ops.maximum, scaled)


@keras.saving.register_keras_serializable(package="ede_keras")
class ResidualMap(keras.layers.Layer):
    """The sum of residuals of an image, each in deviations of normal images.

    Each pixel has its own mean m and deviation s among normal images, so edges that are always
    reconstructed poorly do not count as anomalous; s² has the variance of all pixels added, so
    where normal images are all alike a trace is no anomaly. The value is Σ (residual − m) / s.
    Before `adapt` m is 0 and s is 1: the residuals themselves.

    Args:
        names: Names of the residuals.
        size: `(height, width)` of the residuals, those of the networks' image.

    Call arguments:
        maps: float32 `(n, height, width)` by name.

    Returns:
        float32 `(n, height, width)`.
    """

    learns_from_held_out = False  # training images, which are more

    def __init__(self, names: Sequence[str], size: Sequence[int], **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.names, self.size = list(names), tuple(size)

        def add(name, value):
            shape = (len(self.names), *self.size)
            return self.add_weight(shape, initializer=value, trainable=False, name=name)

        self.center, self.scale = add("center", "zeros"), add("scale", "ones")
        self.built = True

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights; older files have none, and their maps are plain residuals."""
        if len(store.keys()):
            super().load_own_variables(store)

    def adapt(self, maps: Mapping[str, np.ndarray]) -> None:
        """Sets each pixel's mean and deviation from the residuals of normal images, by name.

        They count as if `PRIOR` more images had the mean and the deviation of all pixels: a few
        images say little about a single pixel.
        """
        centers, scales = [], []
        for name in self.names:
            values = np.asarray(maps[name], "float64")
            n = len(values) + PRIOR
            center = (values.sum(0) + PRIOR * values.mean()) / n
            variance = (np.square(values - center).sum(0) + PRIOR * values.var()) / n
            centers.append(center)
            variance = variance + values.var()
            scales.append(np.where(variance > 0, np.sqrt(variance), 1.0))
        self.center.assign(np.stack(centers))
        self.scale.assign(np.stack(scales))

    def call(self, maps: Mapping[str, Any]) -> Any:
        """The sum at each pixel."""
        return sum(
            (maps[name] - self.center[k]) / self.scale[k] for k, name in enumerate(self.names)
        )

    def compute_output_shape(self, maps_shape):
        """`(n, height, width)`."""
        return next(iter(maps_shape.values()))

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), "names": self.names, "size": list(self.size)}
