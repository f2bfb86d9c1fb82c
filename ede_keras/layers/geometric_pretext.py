"""The geometric pretext: E1 sees an image transformed in one of K ways; a head predicts which."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ede_keras.layers.memory_bank import MemoryBank
from ede_keras.layers.pretext import Pretext, TrainingViews
from ede_keras.layers.transformations import TRANSFORMATIONS, check_transformations

# Label smoothing keeps the head from being certain, so its likelihood still grades images.
LABEL_SMOOTHING = 0.1


@keras.saving.register_keras_serializable(package="ede_keras")
class GeometricPretext(Pretext):
    """K views of an image, and a linear head that predicts the view from E1's features of it.

    The head's cross-entropy is added to the losses of Equations (1) and (2). Its negative
    log-likelihood is a term of the score: a network trained on normal images alone predicts their
    views better than those of other images. Two more terms measure how far E1's codes of the views
    lie from those of normal images.

    Args:
        transformations: One of `TRANSFORMATIONS`: "rotations", by 0, 90, 180 and 270 degrees,
            K = 4; "rotations_and_shifts", each of these unmoved and shifted by a quarter of the
            image in three directions, K = 16; "rotations_shifts_and_colours", these and the
            rotations with exchanged and with equal channels, K = 24, for colour images.
        image_shape: `(size, size, channels)` of the images.
        memory_size: Number of normal images whose codes are kept.
        views_per_step: Views of each image that the head classifies in a training step. The EDEs
            reconstruct the image from the first.

    Raises:
        InputError: Unknown transformations, or colour transformations of grey images.

    Reference: Golan and El-Yaniv, "Deep anomaly detection using geometric transformations",
    NeurIPS 2018. It is not part of Jia and Liu's method.
    """

    uses_features = True
    # On grey images any weights do equally well; on photographs the distances tell less.
    term_weights = {"pretext": 3.0, "latent_distance": 1.0, "feature_distance": 1.0}  # noqa: RUF012
    equation8_weight = 0.25

    def __init__(
        self,
        transformations: str,
        image_shape: tuple[int, int, int],
        memory_size: int = 4096,
        views_per_step: int = 1,
        **kwargs: Any,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        check_transformations(transformations, image_shape[-1])
        self.transformations = transformations
        self.image_shape = tuple(image_shape)
        self.memory_size = memory_size
        self.views_per_step = views_per_step
        values = np.arange(math.prod(image_shape), dtype="int32").reshape(image_shape)
        views = TRANSFORMATIONS[transformations](values)
        # A view is a permutation or choice of an image's values, so one gather makes any view.
        self.table = np.stack([view.reshape(-1) for view in views])
        self.head = keras.layers.Dense(len(views), dtype=self.dtype_policy, name="head")
        # The names of these two attributes are part of saved files.
        self.latent_density = MemoryBank(memory_size, name="latent_density")
        self.feature_density = MemoryBank(memory_size, name="feature_density")

    @property
    def n_views(self) -> int:
        """K."""
        return len(self.table)

    def build(self, z_shape: Any = None, features_shape: Any = None) -> None:
        """Creates the weights for latent vectors and features of these shapes."""
        self.head.build((None, math.prod(features_shape[1:])))
        self.latent_density.build((None, self.n_views, z_shape[-1]))
        self.feature_density.build((None, self.n_views, features_shape[-1]))

    def views(self, x: Any, step: Any) -> TrainingViews:
        """`views_per_step` views of each image; `target` holds the views' numbers, 0 to K − 1."""
        which = self.assign_views(self.views_per_step, ops.shape(x)[0], step)
        first = self.make_views(x, which[0])
        target = ops.reshape(which, (-1,))
        if self.views_per_step == 1:
            return TrainingViews(first, target=target)
        images = ops.tile(x, (self.views_per_step - 1, 1, 1, 1))
        more = self.make_views(images, ops.reshape(which[1:], (-1,)))
        return TrainingViews(first, more, target)

    def assign_views(self, n_each: int, n: Any, start: Any) -> Any:
        """The numbers of the views of n images, int32 `(n_each, n)`: all K in turn.

        Args:
            n_each: Views of each image.
            n: Number of images.
            start: Number of the first view, modulo K.
        """
        which = ops.arange(n_each)[:, None] + ops.arange(n) + ops.cast(start, "int32")
        return which % self.n_views

    def make_views(self, images: Any, which: Any) -> Any:
        """View number `which[i]`, from 0 to K − 1, of each image i, `(n, size, size, c)`."""
        values = tf.reshape(images, (-1, math.prod(self.image_shape)))
        moved = tf.gather(values, tf.gather(self.table, which), batch_dims=1)
        return tf.reshape(moved, tf.shape(images))

    def score_views(self, x: Any) -> Any:
        """All K views of every image, `(n · K, size, size, c)`, those of an image in a row."""
        values = ops.reshape(x, (-1, math.prod(self.image_shape)))
        return ops.reshape(ops.take(values, self.table, axis=1), (-1, *self.image_shape))

    def log_probabilities(self, features: Any) -> Any:
        """Log p(view | features), float32 `(n, K)`, for hidden maps `(n, ...)`."""
        flat = ops.reshape(features, (-1, math.prod(features.shape[1:])))
        return ops.log_softmax(self.head(flat))

    def loss(self, features: Any, target: Any) -> Any:
        """The head's cross-entropy with label smoothing, a scalar, for views `target[i]`."""
        smooth = ops.one_hot(target, self.n_views) * (1 - LABEL_SMOOTHING)
        smooth = smooth + LABEL_SMOOTHING / self.n_views
        return -ops.mean(ops.sum(smooth * self.log_probabilities(features), axis=-1))

    def terms(self, z: Any, features: Any) -> tuple[dict, dict]:
        """The score's terms, means over the K views, and the codes that `adapt` keeps."""
        k = self.n_views
        log_p = ops.reshape(self.log_probabilities(features), (-1, k, k))
        pooled = ops.mean(features, axis=(1, 2))
        # The mean of the diagonal, in operations that edge runtimes have too.
        terms = {"pretext": -ops.sum(log_p * np.eye(k, dtype="float32"), axis=(1, 2)) / k}
        codes = {}
        if z is not None:
            codes["latent"] = ops.reshape(z, (-1, k, z.shape[-1]))
            terms["latent_distance"] = self.latent_density(codes["latent"])
        codes["features"] = ops.reshape(pooled, (-1, k, pooled.shape[-1]))
        terms["feature_distance"] = self.feature_density(codes["features"])
        return terms, codes

    def adapt(self, codes: dict[str, np.ndarray]) -> None:
        """Fills the memory banks with codes of normal images, as the call returns them."""
        if "latent" in codes:
            self.latent_density.adapt(codes["latent"])
        self.feature_density.adapt(codes["features"])

    def reliability(self, terms: dict[str, np.ndarray]) -> dict[str, float]:
        """How reliable the head's term is, judged by its values on held-out normal images.

        Views that look alike cannot be told apart, for instance those of a ring. The term counts
        less if the head resolves less than half of the uncertainty about the K views.
        """
        skill = 1 - float(terms["pretext"].mean()) / math.log(self.n_views)
        return {"pretext": min(max(2 * skill, 0.0), 1.0)}

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {
            **super().get_config(),
            "transformations": self.transformations,
            "image_shape": list(self.image_shape),
            "memory_size": self.memory_size,
            "views_per_step": self.views_per_step,
        }
