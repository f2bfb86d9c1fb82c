"""The nearest normal vector and the nearest normal places of an image's feature row."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from ede_keras.layers.feature_row import ROWS_AT_ONCE, FeatureShape
from ede_keras.layers.nearest import NearestCode

# An image is as anomalous as the mean of this share of its places, those that deviate most.
HIGHEST_SHARE = 0.02
PLACES_KEPT = 2048
# Places to choose those from, and the length at which they are compared.
_POOL, _PROJECTION = 30_000, 64
TERMS = ("nearest_vector", "nearest_place")


def highest_mean(values: Any) -> Any:
    """The mean of the highest `HIGHEST_SHARE` of each image's `(n, places)`, at least one place."""
    n = max(math.ceil(HIGHEST_SHARE * values.shape[1]), 1)
    return ops.mean(ops.top_k(values, n)[0], axis=-1)


def choose_spread(codes: np.ndarray, n: int) -> np.ndarray:
    """The positions of n codes, or of all if there are fewer, that are far from each other.

    Each is the one farthest from those chosen before, so rare codes are kept as well as frequent
    ones, of which there may be far more: plain background, for instance. Distances are those of
    random projections.

    Args:
        codes: float32 `(m, c)`.
        n: Number of codes to choose.

    References: Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical
    Computer Science 38 (1985), for memories of places Roth et al., "Towards total recall in
    industrial anomaly detection", CVPR 2022.
    """
    projection = np.random.default_rng(0).normal(size=(codes.shape[1], _PROJECTION))
    codes = codes @ projection.astype("float32")
    lengths = np.square(codes).sum(1)
    distances = np.full(len(codes), np.inf, "float32")
    chosen = [0]
    while len(chosen) < min(n, len(codes)):
        last = chosen[-1]
        to_last = lengths + lengths[last] - 2 * codes @ codes[last]
        distances = np.minimum(distances, to_last)
        distances[last] = -np.inf
        chosen.append(int(distances.argmax()))
    return np.array(chosen)


@keras.saving.register_keras_serializable(package="ede_keras")
class FeatureMemory(NearestCode):
    """Vectors and places of normal images, and how far an image's own are from the nearest.

    Distances are mean squares over the channels. The vectors, and `PLACES_KEPT` places, are
    weights, so they are saved and exported with the model. Before `adapt` there is nothing to be
    near to, and all distances are 0.

    Args:
        shape: The parts of a row.
        memory_size: Number of vectors that are kept.

    Call arguments:
        rows: Scaled feature rows, float32 `(n, length)`.

    Returns:
        `(terms, places)`: the terms of the score, float32 `(n,)` by name, and the distance of each
        place, `(n, height, width)`.
    """

    def __init__(self, shape: FeatureShape, memory_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.shape = FeatureShape.of(shape)
        self.memory_size = memory_size
        self.vectors = self.add_codes("vectors", memory_size, self.shape.vector)
        self.places = self.add_codes("places", PLACES_KEPT, self.shape.channels)
        self.adapted = self.add("adapted")
        self.built = True

    def adapt(self, rows: np.ndarray, scale: Callable[[np.ndarray], Any]) -> None:
        """Keeps vectors and places of normal images.

        If there are more than fit, the vectors are a random subset, and the places those of a
        random subset that `choose_spread` chooses.

        Args:
            rows: Feature rows of normal images, not scaled, `(n, length)`, n at least 2.
            scale: `FeatureScaling`.
        """
        random = np.random.default_rng(0)
        n = len(rows)
        images = random.permutation(n)[: self.memory_size]
        spots = random.permutation(n * self.shape.places)[:_POOL]
        vectors = np.empty((len(images), self.shape.vector), "float32")
        places = np.empty((len(spots), self.shape.channels), "float32")
        for start in range(0, n, ROWS_AT_ONCE):  # all rows may not fit into memory
            found = self.shape.split(scale(rows[start : start + ROWS_AT_ONCE]))
            for kept, positions, values in zip(
                (vectors, places), (images, spots), found, strict=True
            ):
                values = np.reshape(values, (-1, kept.shape[1]))
                per_row = len(values) // len(found[0])
                here = positions // per_row // ROWS_AT_ONCE == start // ROWS_AT_ONCE
                kept[here] = values[positions[here] - start * per_row]
        places = places[choose_spread(places, PLACES_KEPT)]
        self.keep("vectors", np.resize(vectors, self.vectors.shape))
        self.keep("places", np.resize(places, self.places.shape))
        # `resize` repeats codes if the memory is larger than needed; they change no distance.
        self.adapted.assign(1.0)

    def call(self, rows: Any) -> tuple[dict, Any]:
        """The terms, and the distances of the places."""
        vectors, places = self.shape.split(rows)
        flat = ops.reshape(places, (-1, self.shape.channels))
        by_place = ops.reshape(self._distance("places", flat), (-1, self.shape.places))
        distances = self._distance("vectors", vectors), highest_mean(by_place)
        terms = dict(zip(TERMS, distances, strict=True))
        return terms, ops.reshape(by_place, (-1, self.shape.height, self.shape.width))

    def _distance(self, name, codes):
        """The mean square from each code, `(m, d)`, to the nearest kept one of a name."""
        apart = ops.square(codes - self.find(name, codes))
        return self.adapted * ops.mean(apart, axis=-1)

    def compute_output_shape(self, rows_shape):
        """`(n,)` for each term, and `(n, height, width)`."""
        n = rows_shape[0]
        return dict.fromkeys(TERMS, (n,)), (n, self.shape.height, self.shape.width)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {
            **super().get_config(),
            "shape": list(self.shape),
            "memory_size": self.memory_size,
        }
