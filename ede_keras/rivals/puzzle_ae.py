"""Puzzle-AE: a U-Net that puts the quarters of an image back in their places."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ede_keras.rivals.rival import Rival, Training

# Orders of the four quarters. A puzzle of training has any order but the right one, and one that
# is scored has no quarter in its own place, so that skip connections cannot copy any.
ORDERS = np.array(list(itertools.permutations(range(4)))[1:])
SCORED = ORDERS[(np.arange(4) != ORDERS).all(axis=1)]
# How far an attack moves a pixel, in the units of [-1, 1], by the number of channels.
ATTACK = {1: 0.2, 3: 20 / 255}
# The U-Net halves images at most so many times.
MOST_HALVINGS = 4


@keras.saving.register_keras_serializable(package="ede_keras")
class PuzzleAE(Rival):
    """Puzzle-AE: min mean (x − U(p(x) + δ))² for a U-Net U and random orders p of quarters.

    δ is the attack of one signed gradient step (FGSM) from noise: it raises the loss, and no
    entry of it is above `ATTACK`. The score is the squared residual of x − U(p(x)), averaged over
    pixels and over the nine orders p in which no quarter is in its place; the anomaly map shows
    the residual of the mean image.

    Differences from the paper: the U-Net has half as many filters as `base_width` says, so a
    quarter of the paper's 64 by default, and at most four halvings, fewer for small images. There
    is no blank or grey quarter and no discriminator, which the authors' code adds with a small
    weight. The score averages over nine of 24 orders and is not divided by the mean error of each.
    The attack raises the distance from x. The paper trains for 600 to 3,000 epochs.

    Reference: Salehi et al., "Puzzle-AE: Novelty detection in images through solving puzzles",
    arXiv:2008.12959, 2020.

    Args:
        image_shape: As for `Rival`.
        image_size: As for `Rival`.
        base_width: Twice the filters of the U-Net's first convolutions.
        contamination: As for `Rival`.
        name: As for `Rival`.
    """

    training = Training(epochs=30)
    score_weights: ClassVar[Mapping[str, float]] = {"residual": 1.0}

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        image_size: int | None = None,
        base_width: int = 32,
        contamination: float = 0.05,
        name: str | None = None,
    ):
        super().__init__(
            image_shape,
            image_size=image_size,
            base_width=base_width,
            contamination=contamination,
            name=name,
        )

    def build_networks(self) -> None:
        """The U-Net, which gives its innermost map, too."""
        size, channels, _, width = self.network_arguments
        sizes = [size // 2**k for k in range(MOST_HALVINGS) if size % 2 ** (k + 1) == 0]
        widths = [max(width // 2, 1) * 2**k for k, side in enumerate(sizes) if side > 2]
        images = keras.Input((size, size, channels), name="images")
        x, kept = images, []
        for filters in widths:
            kept.append(_convolve_twice(x, filters))
            x = keras.layers.MaxPooling2D()(kept[-1])
        x = inner = _convolve_twice(x, widths[-1])
        for skipped, filters in zip(kept[::-1], [*widths[-2::-1], widths[0]], strict=True):
            x = keras.layers.UpSampling2D(interpolation="bilinear")(x)
            x = _convolve_twice(keras.layers.Concatenate()([skipped, x]), filters)
        outputs = [inner, keras.layers.Conv2D(channels, 1)(x)]
        self.unet = keras.Model(images, outputs, name="unet")
        self.draws = keras.random.SeedGenerator(0)

    @property
    def trained_networks(self) -> list[keras.Layer]:
        """The U-Net."""
        return [self.unet]

    @property
    def relative_size(self) -> float:
        """As for others, times the number of puzzles that are solved to score an image."""
        return super().relative_size * len(SCORED)

    def training_loss(self, x: Any) -> Any:
        """The squared residual of solved puzzles under attack, averaged over the batch."""
        places = keras.random.randint((ops.shape(x)[0],), 0, len(ORDERS), seed=self.draws)
        quarters = tf.gather(to_quarters(x), tf.gather(ORDERS, places), batch_dims=1)
        puzzles = self.attack(from_quarters(quarters), x)
        return ops.mean(ops.square(x - self.unet(puzzles, training=True)[1]))

    def attack(self, puzzles: Any, x: Any) -> Any:
        """Puzzles that are harder to solve: one signed gradient step from noise."""
        reach = ATTACK[puzzles.shape[-1]]
        noise = keras.random.uniform(ops.shape(puzzles), -reach, reach, seed=self.draws)
        start = puzzles + noise
        with tf.GradientTape() as tape:
            tape.watch(start)
            loss = ops.sum(ops.square(x - self.unet(start, training=True)[1]))
        step = 2 * reach * ops.sign(tape.gradient(loss, start))
        moved = puzzles + ops.clip(noise + step, -reach, reach)
        return ops.stop_gradient(ops.clip(moved, -1, 1))

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """The residual over all scored puzzles; the mean innermost map and image."""
        quarters = to_quarters(x)
        shape = tuple(x.shape[1:])
        puzzles = ops.stack(
            [from_quarters(ops.take(quarters, order, axis=1)) for order in SCORED], axis=1
        )
        inner, solved = self.unet(ops.reshape(puzzles, (-1, *shape)), training=False)
        solved = ops.reshape(solved, (-1, len(SCORED), *shape))
        residual = ops.mean(ops.square(ops.expand_dims(x, 1) - solved), axis=(1, 2, 3, 4))
        z = ops.reshape(inner, (-1, len(SCORED), int(np.prod(inner.shape[1:]))))
        return {"residual": residual}, ops.mean(z, axis=1), ops.mean(solved, axis=1)


def to_quarters(images: Any) -> Any:
    """The quarters `(n, 4, s / 2, s / 2, c)` of images `(n, s, s, c)`, row by row."""
    half, channels = images.shape[1] // 2, images.shape[-1]
    split = ops.reshape(images, (-1, 2, half, 2, half, channels))
    return ops.reshape(ops.transpose(split, (0, 1, 3, 2, 4, 5)), (-1, 4, half, half, channels))


def from_quarters(quarters: Any) -> Any:
    """The images of quarters, each in the place of its number."""
    half, channels = quarters.shape[2], quarters.shape[-1]
    split = ops.reshape(quarters, (-1, 2, 2, half, half, channels))
    joined = ops.transpose(split, (0, 1, 3, 2, 4, 5))
    return ops.reshape(joined, (-1, 2 * half, 2 * half, channels))


def _convolve_twice(x, filters):
    for _ in range(2):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    return x
