"""The base class of a pretext: what E1 sees of an image in training, and what follows from it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np


class TrainingViews(NamedTuple):
    """What E1 sees of a batch of n images in a training step.

    Args:
        first: `(n, size, size, c)`. Both EDEs reconstruct the images themselves from these.
        more: `(m, size, size, c)`, more images for `Pretext.loss` alone, or None.
        target: What `Pretext.loss` compares with, for instance class numbers `(n + m,)`; any
            tensor, or None.
    """

    first: Any
    more: Any = None
    target: Any = None


class Pretext(keras.layers.Layer):
    """A task for the encoder E1 besides reconstruction, for example predicting a rotation.

    In training E1 sees views of the images, and both EDEs reconstruct the images themselves.
    `views` is all that a subclass must define: masking and noise need no more. A pretext can also
    add a loss to Equation (1) and terms to the anomaly score. The order of the calls:

    - each training step: `views`, then `loss`;
    - when scoring: `score_views`, then `terms`, in inference mode;
    - `EDE.calibrate`: `adapt` with the `codes` of normal images, then the terms of held-out normal
      images set the scale of the score.

    A subclass is a Keras layer. If it has weights, its `build(z_shape, features_shape)` creates
    them. A model makes its own layer from the `get_config` of the given one. Decorate the class
    with `keras.saving.register_keras_serializable`, so that a model with it can be saved.

    Attributes:
        uses_features: Whether `loss`, `terms` or `codes` read E1's last hidden map. E1 must then
            have a layer named "features".
        encoder: A network that gives the features of the views in E1's place; None for E1 itself.
            The EDEs then take x as it is, and `terms` gets None for z.
        term_weights: The weight in the score of each term that `terms` returns, by name.
        equation8_weight: The factor of Equation (8)'s weights when these terms are added.

    Example:
        >>> @keras.saving.register_keras_serializable(package="example")
        ... class Noise(Pretext):
        ...     def views(self, x, step):
        ...         noise = tf.random.stateless_normal(tf.shape(x), seed=[0, step])
        ...         return TrainingViews(x + 0.1 * noise)
        >>> model = EDE((28, 28, 1), pretext=Noise())
    """

    uses_features = False
    encoder: keras.Model | None = None
    term_weights: Mapping[str, float] = {}
    equation8_weight = 1.0

    def build(self, z_shape: Any = None, features_shape: Any = None) -> None:
        """Creates the layer's weights; there are none by default.

        Args:
            z_shape: `(None, latent_dim)`.
            features_shape: That of E1's last hidden maps; None unless `uses_features`.
        """

    def views(self, x: Any, step: Any) -> TrainingViews:
        """What E1 sees of a training batch.

        Args:
            x: float32 `(n, size, size, c)` in [-1, 1].
            step: int32 scalar that differs from step to step. Random numbers should depend on it
                alone (`tf.random.stateless_uniform`), so that a resumed run repeats them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define views(x, step).")

    def loss(self, features: Any, target: Any) -> Any:
        """The pretext's own loss, a scalar; added to Equation (1), times `pretext_weight`.

        Args:
            features: E1's last hidden maps `(n + m, ...)`, of `first` and then of `more`; None
                unless `uses_features`.
            target: As `views` returned it.
        """
        del features, target
        return 0.0

    def score_views(self, x: Any) -> Any:
        """The images that E1 encodes for the terms of the score.

        Args:
            x: float32 `(n, size, size, c)` in [-1, 1].

        Returns:
            `(k · n, size, size, c)`, the k views of an image in a row.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define score_views(x), because it has term_weights."
        )

    def call(self, z: Any, features: Any) -> tuple[dict, dict]:
        """Calls `terms`, so that Keras tracks the result as the output of a layer."""
        return self.terms(z, features)

    def terms(self, z: Any, features: Any) -> tuple[dict, dict]:
        """The score's terms and the codes that `adapt` learns from.

        Args:
            z: Latent vectors `(k · n, latent_dim)` of the `score_views`.
            features: E1's last hidden maps of them; None unless `uses_features`.

        Returns:
            `(terms, codes)`. Terms: float32 `(n,)`, higher for more anomalous, by the names in
            `term_weights`. Codes: tensors `(n, ...)` by name; empty if `adapt` learns nothing.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define terms(z, features), because it has term_weights."
        )

    def adapt(self, codes: dict[str, np.ndarray]) -> None:
        """Learns from the codes of normal images, arrays `(n, ...)` by name."""
        del codes

    def reliability(self, terms: dict[str, np.ndarray]) -> dict[str, float]:
        """How reliable each term is, from 0 to 1; 1 for terms that are not named.

        Args:
            terms: The terms of held-out normal images, arrays `(n,)` by name.
        """
        del terms
        return {}
