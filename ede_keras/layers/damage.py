"""Damages normal images, so that the EDEs can learn to restore them."""

from typing import Any

import tensorflow as tf

# The sides of the rectangle that is damaged, as shares of the image's.
SMALLEST, LARGEST = 0.1, 0.5
# Of whitened features, which vary by about 1.
NOISE = 0.5


def damage(x: Any, share: Any, step: Any) -> Any:
    """A batch in which some images have a rectangle that does not belong there.

    The rectangle shows, each as often, another image of the batch in another place, or one colour.

    Args:
        x: float32 `(n, size, size, c)` in [-1, 1].
        share: The share of images that are damaged, a scalar.
        step: int32 scalar; what is random depends on it alone.

    Returns:
        float32 `(n, size, size, c)`.

    References: Zavrtanik et al., "DRAEM", ICCV 2021; Astrid et al., "Learning not to reconstruct
    anomalies", BMVC 2021. It is not part of Jia and Liu's method.
    """
    n, size, channels = tf.shape(x)[0], x.shape[1], x.shape[-1]

    def uniform(stream, *shape, low=0.0):
        seed = tf.stack([2 + stream, tf.cast(step, tf.int32)])
        return tf.random.stateless_uniform((n, *shape), seed, low, 1.0)

    sides = size * (SMALLEST + (LARGEST - SMALLEST) * uniform(0, 2))
    corners = (size - sides) * uniform(1, 2)
    pixels = tf.range(size, dtype=tf.float32)[None]
    rows, columns = (
        (pixels >= corners[:, i, None]) & (pixels < (corners + sides)[:, i, None]) for i in (0, 1)
    )
    is_damaged = (uniform(2, 1) < share)[:, :, None, None]
    inside = rows[:, :, None, None] & columns[:, None, :, None] & is_damaged
    other = tf.roll(x, [1, size // 4], [0, 2])
    colour = tf.broadcast_to(uniform(3, 1, 1, channels, low=-1.0), tf.shape(x))
    stranger = tf.where(uniform(4, 1, 1, 1) < 0.5, other, colour)
    return tf.where(inside, stranger, x)


def add_noise(x: Any, share: Any, step: Any) -> Any:
    """A batch in which some rows have noise, of the standard deviation `NOISE`.

    Args:
        x: Whitened rows, float32 `(n, length)`.
        share: As in `damage`.
        step: As in `damage`.

    Reference: Liu et al., "SimpleNet", CVPR 2023.
    """
    n, step = tf.shape(x)[0], tf.cast(step, tf.int32)
    is_damaged = tf.random.stateless_uniform((n, 1), [2, step]) < share
    noise = NOISE * tf.random.stateless_normal(tf.shape(x), [3, step])
    return tf.where(is_damaged, x + noise, x)
