"""Equation (8): the anomaly score, and the threshold that turns it into a label."""

import keras
import numpy as np
from keras import ops

from ede_keras.errors import InputError

# What an image gets whose score is no number (NaN pixels, overflow): broken, so anomalous.
HIGHEST_SCORE = float(np.finfo("float32").max)
LEAST_TRUST = 1e-3


@keras.saving.register_keras_serializable(package="ede_keras")
class AnomalyScore(keras.layers.Layer):
    """Equation (8), A(x) = Σ ω_k t_k over the terms t_k of an image, and Algorithm 2's decision.

    Terms of different kinds can be put on one scale first: `fit` sets m_k and s_k of
    A(x) = Σ ω_k (t_k − m_k) / s_k. Until then m_k is 0 and s_k is 1.

    The threshold φ is a weight, so it is saved and exported with the model, as m and s are. It
    is +inf until it is set: nothing is anomalous before the model has seen what is normal.

    Args:
        weights: One number ω_k per term.

    Call arguments:
        terms: One `(n,)` tensor per weight.

    Returns:
        `score`, float32 `(n,)`, finite, higher for more anomalous; and `label`, int32 `(n,)`, 1
        where the score is above the threshold.
    """

    def __init__(self, weights, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.term_weights = tuple(weights)
        n = len(self.term_weights)

        def add(name, shape, value):
            constant = keras.initializers.Constant(value)
            return self.add_weight(shape, initializer=constant, trainable=False, name=name)

        self.center = add("center", (n,), 0.0)
        self.scale = add("scale", (n,), 1.0)
        self.threshold = add("threshold", (), np.inf)
        self.built = True

    def fit(self, terms, trust):
        """Sets the terms' scale from held-out normal images.

        m_k is their mean and s_k their standard deviation.

        Args:
            terms: One array `(n,)` per weight.
            trust: A number from 0 to 1 per weight; the term counts so much less.
        """
        terms = np.stack(terms).astype("float64")
        deviation = terms.std(axis=1)
        # A term that is the same for all normal images has no unit of its own.
        deviation = np.where(deviation > 0, deviation, 1.0)
        self.center.assign(terms.mean(axis=1))
        self.scale.assign(deviation / np.maximum(trust, LEAST_TRUST))

    def call(self, terms):
        terms = [(t - self.center[k]) / self.scale[k] for k, t in enumerate(terms)]
        score = sum(weight * term for weight, term in zip(self.term_weights, terms, strict=True))
        score = ops.where(ops.isfinite(score), score, HIGHEST_SCORE)
        return score, ops.cast(score > self.threshold, "int32")

    def compute_output_shape(self, terms_shape):
        return terms_shape[0], terms_shape[0]

    def get_config(self):
        return {**super().get_config(), "weights": list(self.term_weights)}


def normal_quantile(scores, contamination):
    """The threshold that at most a fraction `contamination` of these normal scores exceeds.

    Args:
        scores: Scores of held-out normal images, `(n,)`, n at least 1.
        contamination: Share of normal images, in [0, 1), that may be called anomalous; with 0 the
            threshold is the highest score.

    Returns:
        A float, always one of the scores.

    Example:
        >>> normal_quantile([1.0, 2.0, 3.0, 4.0], contamination=0.25)
        3.0
    """
    if not 0 <= contamination < 1:
        raise InputError(
            f"`contamination` must be at least 0 and below 1. Received: {contamination}"
        )
    descending = np.sort(np.asarray(scores, "float32"))[::-1]
    # The product of a decimal fraction and a count may fall just short of a whole number.
    exceeding = min(int(np.floor(contamination * len(descending) + 1e-9)), len(descending) - 1)
    return float(descending[exceeding])
