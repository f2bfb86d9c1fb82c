"""The geometric pretext: E1 sees an image moved in one of K known ways, a head tells which."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ede_keras.errors import InputError

# How far an image is shifted, of its size.
SHIFT = 1 / 4
# A head that must not be certain of its answer keeps telling degrees of it, in the score too.
LABEL_SMOOTHING = 0.1


def _rotations(pixels):
    return [np.rot90(pixels, turns) for turns in range(4)]


def _shifts(pixels):
    """Unmoved, to the left, to the right and up; what comes in from outside is mirrored."""
    size = len(pixels)
    by = round(SHIFT * size)
    padded = np.pad(pixels, by, mode="symmetric")
    corners = [(by, by), (by, 0), (by, 2 * by), (2 * by, by)]
    return [padded[top : top + size, left : left + size] for top, left in corners]


def _rotations_and_shifts(pixels):
    return [view for shifted in _shifts(pixels) for view in _rotations(shifted)]


# Each makes of the numbered pixels of a square image its K views; the first is the image itself.
TRANSFORMATIONS = {"rotations": _rotations, "rotations_and_shifts": _rotations_and_shifts}


@keras.saving.register_keras_serializable(package="ede_keras")
class GeometricPretext(keras.layers.Layer):
    """K views of an image, and a linear head that names the view by E1's last hidden map.

    The head's cross-entropy is a loss beside Equations (1) and (2); its log-likelihood is a term
    of the score, for a network that has seen normal images alone tells their views better than
    those of others.

    Args:
        transformations: One of `TRANSFORMATIONS`: "rotations", by 0, 90, 180 and 270 degrees,
            K = 4; "rotations_and_shifts", each of these unmoved and shifted by a quarter of the
            image in three directions, K = 16.
        image_size: Height and width of the images.

    Reference: Golan and El-Yaniv, "Deep anomaly detection using geometric transformations",
    NeurIPS 2018. It is no part of Jia and Liu's method.
    """

    def __init__(self, transformations, image_size, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        if transformations not in TRANSFORMATIONS:
            raise InputError(
                f"`pretext` must be one of none, {', '.join(TRANSFORMATIONS)}. "
                f"Received: pretext={transformations!r}"
            )
        self.transformations = transformations
        self.image_size = image_size
        pixels = np.arange(image_size**2, dtype="int32").reshape(image_size, image_size)
        views = TRANSFORMATIONS[transformations](pixels)
        # A view is a choice of pixels, so one gather makes any of them.
        self.table = np.stack([view.reshape(-1) for view in views])
        self.head = keras.layers.Dense(len(views), dtype=self.dtype_policy, name="head")

    @property
    def n_views(self):
        """K."""
        return len(self.table)

    def build(self, features_shape):
        self.head.build((None, int(np.prod(features_shape[1:]))))

    def view(self, images, which):
        """View `which[i]`, an int32 `(n,)` from 0 to K − 1, of image i, `(n, size, size, c)`."""
        pixels = tf.reshape(images, (-1, self.image_size**2, images.shape[-1]))
        moved = tf.gather(pixels, tf.gather(self.table, which), batch_dims=1)
        return tf.reshape(moved, tf.shape(images))

    def all_views(self, images):
        """All views of every image, `(n · K, size, size, c)`, those of an image in a row."""
        shape = images.shape[1:]
        pixels = ops.reshape(images, (-1, self.image_size**2, shape[-1]))
        return ops.reshape(ops.take(pixels, self.table, axis=1), (-1, *shape))

    def loss(self, features, which):
        """The head's cross-entropy with label smoothing, a scalar, for views `which[i]`."""
        target = ops.one_hot(which, self.n_views) * (1 - LABEL_SMOOTHING)
        target = target + LABEL_SMOOTHING / self.n_views
        return -ops.mean(ops.sum(target * self(features), axis=-1))

    def call(self, features):
        """log p(view | features), float32 `(n, K)`, of hidden maps `(n, ...)`."""
        flat = ops.reshape(ops.cast(features, "float32"), (-1, int(np.prod(features.shape[1:]))))
        return ops.log_softmax(self.head(flat))

    def compute_output_shape(self, features_shape):
        return (features_shape[0], self.n_views)

    def get_config(self):
        config = {"transformations": self.transformations, "image_size": self.image_size}
        return {**super().get_config(), **config}
