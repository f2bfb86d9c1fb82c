"""The features of arrays of images, computed once and kept on disk while the arrays live."""

import math
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ede_keras.utils import scratch

# Features of more than this are not kept; they are then computed batch by batch, each time anew.
MAX_BYTES = 2**33


class FeatureStore:
    """Keeps the features of whole arrays, each as long as the array exists.

    Args:
        length: Length of an image's row of features.
    """

    def __init__(self, length: int):
        self.length = length
        self._kept: list[tuple[weakref.ref, np.ndarray]] = []

    def fits(self, n: int) -> bool:
        """Whether the features of n more images may be kept."""
        self._kept = [(images, rows) for images, rows in self._kept if images() is not None]
        kept = sum(math.prod(rows.shape) for _, rows in self._kept)
        return 4 * (kept + n * self.length) <= MAX_BYTES

    def get(self, images: np.ndarray, compute: Callable[[], Iterator[Any]]) -> np.ndarray:
        """The features of an array, float32 `(n, length)`, on disk.

        Args:
            images: The array. It must not change, since it is known by its identity.
            compute: Gives the features, batch by batch.
        """
        for known, rows in self._kept:
            if known() is images:
                return rows
        computed = (row for batch in compute() for row in np.asarray(batch))
        found = scratch.store(computed, (self.length,), "float32")
        self._kept.append((weakref.ref(images), found))
        return found
