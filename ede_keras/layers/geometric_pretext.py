"""The geometric pretext: E1 sees an image moved in one of K known ways, a head tells which."""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ede_keras.errors import InputError
from ede_keras.layers.memory_bank import NearestNormal

# How far an image is shifted, of its size.
SHIFT = 1 / 4
# A head that must not be certain of its answer keeps telling degrees of it, in the score too.
LABEL_SMOOTHING = 0.1


def _turn(images):
    return [np.rot90(image, turns) for image in images for turns in range(4)]


def _shifts(image):
    """Unmoved, to the right, to the left and up; what comes in from outside is mirrored."""
    size = len(image)
    by = round(SHIFT * size)
    padded = np.pad(image, ((by, by), (by, by), (0, 0)), mode="symmetric")
    corners = [(by, by), (by, 0), (by, 2 * by), (2 * by, by)]
    return [padded[top : top + size, left : left + size] for top, left in corners]


def _colours(image):
    """The channels exchanged in a ring, and the green one in place of all."""
    return [image[..., [1, 2, 0]], image[..., [1, 1, 1]]]


# What the terms weigh in the score: the views' negative log-likelihood, and the distance of their
# latent vectors and of their pooled hidden maps to the nearest normal ones. On grey images any
# weights do alike; on photographs the distances say less.
VIEW_WEIGHTS = {"pretext": 3.0, "latent_distance": 1.0, "feature_distance": 1.0}
# What the terms of Equation (8) weigh beside them.
WEIGHT_BESIDE_VIEWS = 0.25

# Each makes of a square image `(size, size, channels)` its K views; the first is the image itself.
TRANSFORMATIONS = {
    "rotations": lambda image: _turn([image]),
    "rotations_and_shifts": lambda image: _turn(_shifts(image)),
    "rotations_shifts_and_colours": lambda image: _turn(_shifts(image) + _colours(image)),
}


@keras.saving.register_keras_serializable(package="ede_keras")
class GeometricPretext(keras.layers.Layer):
    """K views of an image, a linear head that names a view by what E1 makes of it, and its score.

    The head's cross-entropy is a loss beside Equations (1) and (2). Its log-likelihood is a term
    of the score, for a network that has seen normal images alone tells their views better than
    those of others; two more are how far E1's codes of the views lie from normal ones.

    Args:
        transformations: One of `TRANSFORMATIONS`: "rotations", by 0, 90, 180 and 270 degrees,
            K = 4; "rotations_and_shifts", each of these unmoved and shifted by a quarter of the
            image in three directions, K = 16; "rotations_shifts_and_colours", these and the
            rotations with exchanged and with equal channels, of colour images alone, K = 24.
        image_shape: `(size, size, channels)` of the images.
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

    def __init__(self, transformations, image_shape, memory_size, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        if transformations not in TRANSFORMATIONS:
            raise InputError(
                f"`pretext` must be one of none, {', '.join(TRANSFORMATIONS)}. "
                f"Received: pretext={transformations!r}"
            )
        if "colours" in transformations and image_shape[-1] != 3:
            raise InputError(
                f"pretext={transformations!r} needs images of 3 channels. "
                f"Received: {image_shape[-1]}"
            )
        self.transformations = transformations
        self.image_shape = tuple(image_shape)
        self.memory_size = memory_size
        values = np.arange(math.prod(image_shape), dtype="int32").reshape(image_shape)
        views = TRANSFORMATIONS[transformations](values)
        # A view is a choice of an image's values, so one gather makes any of them.
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

    def deal(self, n_each, n, began):
        """Which views, int32 `(n_each, n)`, each of n images is seen in: all in turn, evenly.

        Args:
            n_each: Views of an image.
            n: Images.
            began: Where the turn begins, a number from 0 on.
        """
        which = ops.arange(n_each)[:, None] + ops.arange(n) + ops.cast(began, "int32")
        return which % self.n_views

    def view(self, images, which):
        """View `which[i]`, an int32 `(n,)` from 0 to K − 1, of image i, `(n, size, size, c)`."""
        values = tf.reshape(images, (-1, math.prod(self.image_shape)))
        moved = tf.gather(values, tf.gather(self.table, which), batch_dims=1)
        return tf.reshape(moved, tf.shape(images))

    def all_views(self, images):
        """All views of every image, `(n · K, size, size, c)`, those of an image in a row."""
        values = ops.reshape(images, (-1, math.prod(self.image_shape)))
        return ops.reshape(ops.take(values, self.table, axis=1), (-1, *self.image_shape))

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
            # The mean of the diagonal, in operations that edge runtimes have too.
            "pretext": -ops.sum(log_p * np.eye(k, dtype="float32"), axis=(1, 2)) / k,
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
            "image_shape": list(self.image_shape),
            "memory_size": self.memory_size,
        }
