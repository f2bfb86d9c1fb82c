"""The base of methods that are fitted to pixels once; the fitted numbers are weights."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from ede_keras.layers.image_sizes import check_channels, size_for_networks
from ede_keras.rivals.rival import Rival
from ede_keras.utils import pipeline
from ede_keras.utils.checks import check_enough, check_range


class Fitted(Rival):
    """A method that is fitted once to rows of pixels in [0, 1], at most `memory_size` of them.

    A subclass defines `learn` and names its layer. The rows are the images at the size at which
    `EDE` sees them. Of more images a random choice is used, always the same one.

    Args:
        image_shape: As for `Rival`.
        image_size: As for `Rival`.
        memory_size: Most images that the method learns from; those that it keeps are in the file.
        contamination: As for `Rival`.
        name: As for `Rival`.
    """

    has_epochs = False
    # From rows to `(score, reconstructed rows)`; it has the method's weights.
    layer_class: ClassVar[type["FittedLayer"]]

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        image_size: int | None = None,
        memory_size: int = 5000,
        contamination: float = 0.05,
        name: str | None = None,
    ):
        check_range("memory_size", memory_size > 1, memory_size, "at least 2")
        self.memory_size = memory_size
        size = image_size or size_for_networks(image_shape)
        self.row_length = size * size * int(image_shape[-1])
        super().__init__(image_shape, image_size=size, contamination=contamination, name=name)
        self.fix("memory_size")

    def check_size(self) -> None:
        """Raises an `InputError` unless images have such a size; there are no networks to suit."""
        check_range("image_size", self.image_size > 0, self.image_size, "positive")
        check_channels(self.image_shape[-1])

    def build_networks(self) -> None:
        """The layer that holds what is learned."""
        self.fitted = self.layer_class(self.row_length, self.memory_size, name="fitted")

    def learn(self, rows: np.ndarray) -> None:
        """Fits the method to rows, float32 `(n, row_length)` in [0, 1], and sets the weights."""
        raise NotImplementedError(f"{type(self).__name__} must define learn(rows).")

    @property
    def trained_networks(self) -> list[keras.Layer]:
        """None: there are no gradients."""
        return []

    def to_rows(self, x: Any) -> Any:
        """Rows in [0, 1] of images in [-1, 1]."""
        return ops.reshape((x + 1) / 2, (-1, self.row_length))

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """The layer's score; the rows, and what it makes of them as images."""
        rows = self.to_rows(x)
        score, again = self.fitted(rows)
        return (
            {next(iter(self.score_weights)): score},
            rows,
            ops.reshape(again, (-1, *x.shape[1:])) * 2 - 1,
        )

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Fits the method; there are no epochs.

        Args:
            x: Normal images, as for `EDE.fit`.
            *args: Not used: for calls as those of other methods.
            **kwargs: Not used, but held-out images are refused.
        """
        del args
        self.refuse_held_out(kwargs)
        self.check_input(x)
        if hasattr(x, "__array__"):
            order = np.random.default_rng(0).permutation(len(x))[: self.memory_size]
            x = pipeline.make_ordered_dataset(np.asarray(x), 256, np.sort(order))
        batches = pipeline.take_batches(x, self.memory_size)
        found = np.concatenate([np.asarray(self.to_rows(self.preprocessor(b))) for b in batches])
        check_enough(found)
        self.learn(found)
        history = keras.callbacks.History()
        history.set_model(self)
        return history


def squared_distances(rows: Any, others: Any) -> Any:
    """‖a − b‖² of each row `(n, k)` and each other one `(m, k)`: `(n, m)`, not negative."""
    products = ops.matmul(rows, ops.transpose(others))
    lengths = ops.sum(ops.square(rows), axis=1)[:, None] + ops.sum(ops.square(others), axis=1)
    return ops.maximum(lengths - 2 * products, 0.0)


class FittedLayer(keras.layers.Layer):
    """From rows `(n, row_length)` to `(score, again)`, `(n,)` and `(n, row_length)`.

    `again` is what the method takes for the normal image that is meant; the anomaly map shows the
    difference.
    """

    def __init__(self, row_length: int, memory_size: int, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.row_length, self.memory_size = row_length, memory_size
        self.add_own_weights()
        self.built = True

    def add_own_weights(self) -> None:
        """Creates the weights, by `zeros`."""
        raise NotImplementedError(f"{type(self).__name__} must define add_own_weights.")

    def zeros(self, name: str, *shape: int) -> keras.Variable:
        """A weight that starts at 0 and is no trained one."""
        return self.add_weight(shape, "zeros", trainable=False, name=name)

    def compute_output_shape(self, rows_shape):
        """`(n,)` and `(n, row_length)`."""
        return rows_shape[:1], rows_shape

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        own = {"row_length": self.row_length, "memory_size": self.memory_size}
        return {**super().get_config(), **own}
