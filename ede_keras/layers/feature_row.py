"""The row of features that is an image's x when a frozen network sees it."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

_CHUNK = 64  # rows read at a time


class FeatureShape(NamedTuple):
    """The parts of a row: a vector, and places on a grid with equally many channels each."""

    vector: int
    height: int
    width: int
    channels: int

    @property
    def places(self) -> int:
        """Number of places."""
        return self.height * self.width

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
        """The vectors `(n, vector)` and places `(n, places, channels)` of rows `(n, length)`."""
        places = ops.reshape(rows[:, self.vector :], (-1, self.places, self.channels))
        return rows[:, : self.vector], places


def join(vectors: Any, places: Any) -> Any:
    """Rows of vectors `(n, c)` and places `(n, ..., d)`."""
    flat = ops.reshape(places, (-1, int(np.prod(places.shape[1:]))))
    return ops.concatenate([vectors, flat], axis=-1)


@keras.saving.register_keras_serializable(package="ede_keras")
class FeatureRow(keras.layers.Layer):
    """Makes rows of what a backbone gives: each vector and each place has length 1.

    A place is averaged with its eight neighbours first, so that it tells of what surrounds it.

    Call arguments:
        vectors: float32 `(n, c)`.
        places: float32 `(n, h, w, d)`.

    Returns:
        float32 `(n, c + h · w · d)`.
    """

    def call(self, vectors: Any, places: Any) -> Any:
        """The rows."""
        places = ops.average_pool(places, 3, 1, padding="same")
        return join(ops.normalize(vectors, axis=-1), ops.normalize(places, axis=-1))

    def compute_output_shape(self, vectors_shape, places_shape):
        """`(n, length)`."""
        return vectors_shape[0], vectors_shape[1] + int(np.prod(places_shape[1:]))


@keras.saving.register_keras_serializable(package="ede_keras")
class FeatureScaling(keras.layers.Layer):
    """Centres and scales rows by those of normal images, so that they are the x of the EDEs.

    Each channel is centred and divided by a deviation: that of all channels together, or its own
    plus theirs, so that channels that hardly vary among normal images are not amplified without
    bound. The vector and all places together then count equally in a mean over the row, and that
    mean square is 1.

    Args:
        shape: The parts of a row.
        by_channel: Whether a channel's own deviation counts as well.
    """

    def __init__(self, shape: FeatureShape, by_channel: bool, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.shape = FeatureShape(*shape)
        self.by_channel = by_channel
        n = self.shape.vector + self.shape.channels

        def add(name, shape, value):
            return self.add_weight(shape, initializer=value, trainable=False, name=name)

        self.center = add("center", (n,), "zeros")
        self.factor = add("factor", (n,), "ones")
        self.adapted = add("adapted", (), "zeros")
        self.built = True

    def adapt(self, rows: np.ndarray) -> None:
        """Sets centres and factors from the rows of normal images, `(n, length)`."""
        n = len(rows)
        total = squares = np.zeros(self.center.shape)
        for start in range(0, n, _CHUNK):
            chunk = np.asarray(rows[start : start + _CHUNK], "float64")
            vectors, places = (np.asarray(part) for part in self.shape.split(chunk))
            total = total + np.concatenate([vectors.sum(0), places.mean(1).sum(0)])
            squares = squares + np.concatenate(
                [np.square(vectors).sum(0), np.square(places).mean(1).sum(0)]
            )
        center = total / n
        deviation = np.sqrt(np.maximum(squares / n - center**2, 0))
        halves = []
        for half, gain in zip(
            np.split(deviation, [self.shape.vector]), self.shape.gains, strict=True
        ):
            factor = 1 / (half * self.by_channel + half.mean() + 1e-6)
            size = np.sqrt(np.mean(np.square(half * factor)))
            halves.append(factor * gain / (size or 1.0))
        self.center.assign(center)
        self.factor.assign(np.concatenate(halves))
        self.adapted.assign(1.0)

    def call(self, rows: Any) -> Any:
        """The rows, centred and scaled."""
        vectors, places = self.shape.split(ops.cast(rows, "float32"))
        n = self.shape.vector
        vectors = (vectors - self.center[:n]) * self.factor[:n]
        return join(vectors, (places - self.center[n:]) * self.factor[n:])

    def compute_output_shape(self, rows_shape):
        """The shape of the rows."""
        return rows_shape

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        config = {"shape": list(self.shape), "by_channel": self.by_channel}
        return {**super().get_config(), **config}
