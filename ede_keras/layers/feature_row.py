"""The row of features that is an image's x when a frozen network sees it."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import keras
import numpy as np
from keras import ops

ROWS_AT_ONCE = 64  # rows read at a time
# A place is divided by its length and this share of a normal place's: without it plain background,
# which says little, would count as much as any other place.
SOFTNESS = 0.1
# Directions are whitened as if each varied by this share of the mean variance more than it does, so
# that those that hardly vary among few normal images are not amplified without bound.
SHRINKAGE = 0.1


class FeatureShape(NamedTuple):
    """The parts of a row: a vector, and places on a grid.

    Args:
        vector: Length of the vector.
        height: Rows of the grid.
        width: Columns of the grid.
        groups: The channels of a place that come from each of the backbone's maps.
    """

    vector: int
    height: int
    width: int
    groups: tuple[int, ...]

    @classmethod
    def of(cls, values: Sequence[Any]) -> Self:
        """The shape of its values, as a config has them."""
        vector, height, width, groups = values
        return cls(vector, height, width, tuple(groups))

    @classmethod
    def of_maps(cls, shapes: Sequence[tuple]) -> Self:
        """The shape of a backbone's maps' rows; see `FeatureRow`."""
        channels = tuple(shape[-1] for shape in shapes)
        _, height, width, _ = shapes[0]
        return cls(sum(channels), height, width, channels[: _count_of_places(shapes)])

    @property
    def places(self) -> int:
        """Number of places."""
        return self.height * self.width

    @property
    def channels(self) -> int:
        """Channels of a place."""
        return sum(self.groups)

    @property
    def length(self) -> int:
        """Length of a row."""
        return self.vector + self.places * self.channels

    @property
    def gains(self) -> tuple[float, float]:
        """The sizes (root mean squares) at which both parts count equally in a mean over a row."""
        lengths = self.vector, self.places * self.channels
        vector, places = (math.sqrt(self.length / (2 * length)) for length in lengths)
        return vector, places

    def split(self, rows: Any) -> tuple[Any, Any]:
        """The vectors `(n, vector)` and places `(n, places, channels)` of rows.

        Rows have this `length`, or more: what follows is not the networks', but a pretext's.
        """
        places = rows[:, self.vector : self.length]
        places = ops.reshape(places, (-1, self.places, self.channels))
        return rows[:, : self.vector], places


def _count_of_places(maps):
    """How many of a backbone's maps describe places: all but the last of three."""
    return min(len(maps), 2)


def join(vectors: Any, places: Any) -> Any:
    """Rows of vectors `(n, c)` and places `(n, ..., d)`."""
    flat = ops.reshape(places, (-1, int(np.prod(places.shape[1:]))))
    return ops.concatenate([vectors, flat], axis=-1)


@keras.saving.register_keras_serializable(package="ede_keras")
class FeatureRow(keras.layers.Layer):
    """Makes rows of a backbone's maps.

    The vector has the mean of each map, brought to length 1. The places have the first two maps'
    values on the grid of the first, averaged with the eight neighbours, so that a place tells of
    what surrounds it.

    Call arguments:
        maps: A backbone's maps, float32 `(n, h, w, c)`, the finest first.

    Returns:
        float32 `(n, length)`; the parts are those of `FeatureShape.of_maps`.
    """

    def call(self, maps: Sequence[Any]) -> Any:
        """The rows."""
        vectors = [ops.normalize(ops.mean(m, axis=(1, 2)), axis=-1) for m in maps]
        size = maps[0].shape[1:3]
        places = []
        for m in maps[: _count_of_places(maps)]:
            m = ops.average_pool(m, 3, 1, padding="same")
            places.append(m if m.shape[1:3] == size else ops.image.resize(m, size))
        return join(ops.concatenate(vectors, axis=-1), ops.concatenate(places, axis=-1))

    def compute_output_shape(self, maps_shape):
        """`(n, length)`."""
        return maps_shape[0][0], FeatureShape.of_maps(maps_shape).length


@keras.saving.register_keras_serializable(package="ede_keras")
class FeatureScaling(keras.layers.Layer):
    """Centres and whitens rows by those of normal images, so that they are the x of the EDEs.

    Each group of a place's channels is first divided by its length and a share, `SOFTNESS`, of the
    mean length of normal ones. Vectors and places are then centred and multiplied by
    (C + `SHRINKAGE` · c · I)^(-1/2), C being their covariance and c the mean of its diagonal: every
    direction in which normal images vary counts about equally. The vector and all places together
    count equally in a mean over the row, and that mean square is 1.

    What follows the shape's `length` in a row stays as it is.

    Args:
        shape: The parts of a row.
        by_channel: Whether each channel is first divided by its own deviation plus the mean one.
    """

    def __init__(self, shape: Sequence[Any], by_channel: bool, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.shape = FeatureShape.of(shape)
        self.by_channel = by_channel

        def add(name, shape, value):
            return self.add_weight(shape, initializer=value, trainable=False, name=name)

        self.lengths = add("lengths", (len(self.shape.groups),), "zeros")
        sizes = {"vector": self.shape.vector, "place": self.shape.channels}
        self.centers = [add(f"{part}_center", (n,), "zeros") for part, n in sizes.items()]
        self.kernels = [add(f"{part}_kernel", (n, n), "identity") for part, n in sizes.items()]
        self.adapted = add("adapted", (), "zeros")
        self.built = True

    def adapt(self, rows: np.ndarray) -> None:
        """Sets lengths, centres and kernels from the rows of normal images, `(n, length)`."""
        chunks = range(0, len(rows), ROWS_AT_ONCE)
        lengths = sum(self._sum_lengths(rows[start : start + ROWS_AT_ONCE]) for start in chunks)
        self.lengths.assign(lengths / (len(rows) * self.shape.places))
        moments = [_Moments(n) for n in (self.shape.vector, self.shape.channels)]
        for start in chunks:
            for part, moment in zip(
                self._split(rows[start : start + ROWS_AT_ONCE]), moments, strict=True
            ):
                moment.add(np.asarray(part, "float64").reshape(-1, part.shape[-1]))
        for moment, gain, center, kernel in zip(
            moments, self.shape.gains, self.centers, self.kernels, strict=True
        ):
            center.assign(moment.mean)
            kernel.assign(gain * moment.whiten(self.by_channel))
        self.adapted.assign(1.0)

    def _sum_lengths(self, rows):
        places = self.shape.split(np.asarray(rows, "float32"))[1]
        return np.array(
            [np.asarray(self._length(g), "float64").sum() for g in self._groups(places)]
        )

    def _groups(self, places):
        ends = np.cumsum(self.shape.groups)
        return [places[..., end - n : end] for end, n in zip(ends, self.shape.groups, strict=True)]

    def _length(self, group):
        return ops.sqrt(ops.sum(ops.square(group), axis=-1, keepdims=True))

    def _split(self, rows):
        """The vectors and places, the latter divided by their lengths."""
        vectors, places = self.shape.split(ops.cast(rows, "float32"))
        groups = [
            group / (self._length(group) + SOFTNESS * self.lengths[k] + keras.config.epsilon())
            for k, group in enumerate(self._groups(places))
        ]
        return vectors, ops.concatenate(groups, axis=-1)

    def call(self, rows: Any) -> Any:
        """The rows, centred and whitened."""
        parts = [
            ops.matmul(part - center, kernel)
            for part, center, kernel in zip(
                self._split(rows), self.centers, self.kernels, strict=True
            )
        ]
        if rows.shape[-1] == self.shape.length:
            return join(*parts)
        return ops.concatenate([join(*parts), rows[:, self.shape.length :]], axis=-1)

    def compute_output_shape(self, rows_shape):
        """The shape of the rows."""
        return rows_shape

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        config = {"shape": list(self.shape), "by_channel": self.by_channel}
        return {**super().get_config(), **config}


class _Moments:
    """The mean and covariance of codes `(m, n)` that are added part by part.

    Args:
        n: Length of a code.
    """

    def __init__(self, n: int):
        self.count, self.total, self.products = 0, np.zeros(n), np.zeros((n, n))

    def add(self, codes: np.ndarray) -> None:
        """Adds codes."""
        self.count += len(codes)
        self.total += codes.sum(0)
        self.products += codes.T @ codes

    @property
    def mean(self) -> np.ndarray:
        """The mean code."""
        return self.total / self.count

    def whiten(self, by_channel: bool) -> np.ndarray:
        """The matrix that makes codes white, with a mean square of 1; see `FeatureScaling`."""
        covariance = self.products / self.count - np.outer(self.mean, self.mean)
        factor = np.ones(len(covariance))
        if by_channel:
            deviation = np.sqrt(np.maximum(np.diag(covariance), 0))
            factor /= deviation + deviation.mean() + 1e-6
        variances, directions = np.linalg.eigh(np.outer(factor, factor) * covariance)
        variances = np.maximum(variances, 0)
        shrunk = variances + SHRINKAGE * variances.mean() + 1e-12
        size = np.sqrt(np.mean(variances / shrunk)) or 1.0
        return factor[:, None] * (directions / np.sqrt(shrunk)) @ directions.T / size
