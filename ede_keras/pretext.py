"""The geometric pretext: E1 sees an image moved in one of K known ways, a head tells which."""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ede_keras.density import NearestNormal
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


# What the terms weigh in the score: the views' negative log-likelihood, and the distance of their
# latent vectors and of their pooled hidden maps to the nearest normal ones. On grey images any
# weights do alike; on photographs the distances say less.
VIEW_WEIGHTS = {"pretext": 3.0, "latent_distance": 1.0, "feature_distance": 1.0}

# Each makes of the numbered pixels of a square image its K views; the first is the image itself.
TRANSFORMATIONS = {"rotations": _rotations, "rotations_and_shifts": _rotations_and_shifts}


@keras.saving.register_keras_serializable(package="ede_keras")
class GeometricPretext(keras.layers.Layer):
    """K views of an image, a linear head that names a view by what E1 makes of it, and its score.

    The head's cross-entropy is a loss beside Equations (1) and (2). Its log-likelihood is a term
    of the score, for a network that has seen normal images alone tells their views better than
    those of others; two more are how far E1's codes of the views lie from normal ones.

    Args:
        transformations: One of `TRANSFORMATIONS`: "rotations", by 0, 90, 180 and 270 degrees,
            K = 4; "rotations_and_shifts", each of these unmoved and shifted by a quarter of the
            image in three directions, K = 16.
        image_size: Height and width of the images.
        memory_size: Normal images whose codes are remembered.

    Call arguments:
        z: `(n · K, d)`: the latent vectors of all views of n images.
        features: `(n · K, ...)`: E1's last hidden maps of them.

    Returns:
        `(terms, codes)`: the terms of the score by name (`VIEW_WEIGHTS`), float32 `(n,)`, means
        over the views; and what `remember` learns from, a dict of `(n, K, d)` tensors.

    Reference: Golan and El-Yaniv, "Deep anomaly detection using geometric transformations",
    NeurIPS 2018. It is no part of Jia and Liu's method.
    """

    def __init__(self, transformations, image_size, memory_size, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        if transformations not in TRANSFORMATIONS:
            raise InputError(
                f"`pretext` must be one of none, {', '.join(TRANSFORMATIONS)}. "
                f"Received: pretext={transformations!r}"
            )
        self.transformations = transformations
        self.image_size = image_size
        self.memory_size = memory_size
        pixels = np.arange(image_size**2, dtype="int32").reshape(image_size, image_size)
        views = TRANSFORMATIONS[transformations](pixels)
        # A view is a choice of pixels, so one gather makes any of them.
        self.table = np.stack([view.reshape(-1) for view in views])
        self.head = keras.layers.Dense(len(views), dtype=self.dtype_policy, name="head")
        self.latent_density = NearestNormal(memory_size, name="latent_density")
        self.feature_density = NearestNormal(memory_size, name="feature_density")

    @property
    def n_views(self):
        """K."""
        return len(self.table)

    def build(self, z_shape, features_shape):
        self.head.build((None, math.prod(features_shape[1:])))
        self.latent_density.build((None, self.n_views, z_shape[-1]))
        self.feature_density.build((None, self.n_views, features_shape[-1]))

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

    def name_views(self, features):
        """log p(view | features), float32 `(n, K)`, of hidden maps `(n, ...)`."""
        flat = ops.reshape(features, (-1, math.prod(features.shape[1:])))
        return ops.log_softmax(self.head(flat))

    def loss(self, features, which):
        """The head's cross-entropy with label smoothing, a scalar, for views `which[i]`."""
        target = ops.one_hot(which, self.n_views) * (1 - LABEL_SMOOTHING)
        target = target + LABEL_SMOOTHING / self.n_views
        return -ops.mean(ops.sum(target * self.name_views(features), axis=-1))

    def call(self, z, features):
        k = self.n_views
        log_p = ops.reshape(self.name_views(features), (-1, k, k))
        pooled = ops.mean(features, axis=(1, 2))
        codes = {
            "latent": ops.reshape(z, (-1, k, z.shape[-1])),
            "features": ops.reshape(pooled, (-1, k, pooled.shape[-1])),
        }
        terms = {
            "pretext": -ops.mean(ops.diagonal(log_p, axis1=1, axis2=2), axis=-1),
            "latent_distance": self.latent_density(codes["latent"]),
            "feature_distance": self.feature_density(codes["features"]),
        }
        return terms, codes

    def remember(self, codes):
        """Learns what codes are normal: a dict of arrays such as the call returns."""
        self.latent_density.fit(codes["latent"])
        self.feature_density.fit(codes["features"])

    def trust(self, terms):
        """How far each term can be trusted, 0 to 1, by its values on held-out normal images.

        A view that looks like another (a ring, turned) cannot be named: the pretext's term counts
        less if the head takes away less than half of the uncertainty about the K views.
        """
        skill = 1 - float(terms["pretext"].mean()) / math.log(self.n_views)
        trust = min(max(2 * skill, 0.0), 1.0)
        return [trust if name == "pretext" else 1.0 for name in terms]

    def get_config(self):
        return {
            **super().get_config(),
            "transformations": self.transformations,
            "image_size": self.image_size,
            "memory_size": self.memory_size,
        }
