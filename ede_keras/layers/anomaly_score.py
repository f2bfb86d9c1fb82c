"""Equation (8): the anomaly score, and the threshold that turns it into a label."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from ede_keras.errors import InputError

# The score of an image whose score is not finite (NaN pixels, overflow): broken, so anomalous.
HIGHEST_SCORE = float(np.finfo("float32").max)
LEAST_RELIABILITY = 1e-3
# How many deviations further out a lone term must be than the others to be the score in their
# place; chosen on classes and on drawn parts.
HANDICAP = 4.0
# Of a normal distribution the standard deviation, as a multiple of the median absolute deviation.
_OF_MEDIAN = 1.4826


@keras.saving.register_keras_serializable(package="ede_keras")
class AnomalyScore(keras.layers.Layer):
    """Equation (8), A(x) = Σ ω_k t_k over the terms t_k of an image, and Algorithm 2's decision.

    Terms of different kinds can be brought to one scale: `adapt` sets m_k and s_k of
    A(x) = Σ ω_k (t_k − m_k) / s_k. Before that m_k is 0 and s_k is 1.

    A lone term can be the score by itself. Its scale is that of the others' sum, less a handicap,
    and A(x) is the larger of the two: an image is as anomalous as all in all, or in one respect.

    The threshold φ is a weight, so it is saved and exported with the model, and so are m and s.
    It is +inf until it is set: before calibration no image is labelled anomalous. So is the
    threshold of the anomaly map, above which a pixel counts as anomalous.

    Args:
        weights: ω_k of each term, by name.
        lone_term: Name of the lone term, if there is one.

    Call arguments:
        terms: A float32 tensor `(n,)` for each weight, by the same names.

    Returns:
        `score`, float32 `(n,)`, finite, higher for more anomalous; and `label`, int32 `(n,)`, 1
        where the score is above the threshold.

    Reference: Section 3.3.4, Equation (8) and Algorithm 2.
    """

    def __init__(self, weights: Mapping[str, float], lone_term: str | None = None, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.term_weights = dict(weights)
        self.lone_term = lone_term
        n = len(self.term_weights)

        def add(name, shape, value):
            constant = keras.initializers.Constant(value)
            return self.add_weight(shape, initializer=constant, trainable=False, name=name)

        self.center = add("center", (n,), 0.0)
        self.scale = add("scale", (n,), 1.0)
        self.threshold = add("threshold", (), np.inf)
        self.pixel_threshold = add("pixel_threshold", (), np.inf)
        self.built = True

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights; older files have no threshold of the map."""
        if "3" in store:
            super().load_own_variables(store)
            return
        for i, weight in enumerate((self.center, self.scale, self.threshold)):
            weight.assign(store[str(i)])

    def adapt(self, terms: Mapping[str, np.ndarray], reliability: Mapping[str, float]) -> None:
        """Sets each term's center and scale from held-out normal images.

        m_k is the mean and s_k the standard deviation, divided by the term's reliability. For the
        lone term the median and the median absolute deviation take their place, because one odd
        image among few would hide it; m_k is then `HANDICAP` deviations more, and s_k makes the
        term as wide as the others' sum.

        Args:
            terms: Arrays `(n,)` by name.
            reliability: From 0 to 1 by name; a term with a lower value counts less. 1 for terms
                that are not named.
        """
        values = np.stack(self._in_order(terms)).astype("float64")
        deviation = values.std(axis=1)
        # A term that is equal for all normal images has no scale of its own.
        deviation = np.where(deviation > 0, deviation, 1.0)
        factors = np.array([reliability.get(name, 1.0) for name in self.term_weights])
        center, scale = values.mean(axis=1), deviation / np.maximum(factors, LEAST_RELIABILITY)
        if self.lone_term is not None:
            k = list(self.term_weights).index(self.lone_term)
            weights = np.array([*self.term_weights.values()])[:, None]
            scaled = weights * (values - center[:, None]) / scale[:, None]
            width = np.delete(scaled, k, axis=0).sum(axis=0).std()
            middle = np.median(values[k])
            usual = _OF_MEDIAN * np.median(np.abs(values[k] - middle))
            usual = usual if usual > 0 else deviation[k]
            center[k] = middle + HANDICAP * usual
            scale[k] = usual * weights[k, 0] / (width if width > 0 else 1.0)
        self.center.assign(center)
        self.scale.assign(scale)

    def _in_order(self, terms):
        """The terms in the order of the weights."""
        if set(terms) != set(self.term_weights):
            raise InputError(
                f"Expected the terms {', '.join(self.term_weights)}. Received: {', '.join(terms)}"
            )
        return [terms[name] for name in self.term_weights]

    def weigh(self, terms: Mapping[str, Any]) -> dict[str, Any]:
        """Each term's part ω_k (t_k − m_k) / s_k of the score, `(n,)` by name.

        That of the lone term is what it exceeds the others' sum by, so the score is still the sum.
        """
        parts = {
            name: weight * ((t - self.center[k]) / self.scale[k])
            for k, ((name, weight), t) in enumerate(
                zip(self.term_weights.items(), self._in_order(terms), strict=True)
            )
        }
        if self.lone_term is not None:
            others = sum(part for name, part in parts.items() if name != self.lone_term)
            parts[self.lone_term] = ops.maximum(parts[self.lone_term] - others, 0.0)
        return parts

    def call(self, terms: Mapping[str, Any]) -> tuple[Any, Any]:
        """The score and the label of each image."""
        score = sum(self.weigh(terms).values())
        score = ops.where(ops.isfinite(score), score, HIGHEST_SCORE)
        return score, ops.cast(score > self.threshold, "int32")

    def compute_output_shape(self, terms_shape):
        """`(n,)` twice."""
        shape = next(iter(terms_shape.values()))
        return shape, shape

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        terms = {"weights": self.term_weights, "lone_term": self.lone_term}
        return {**super().get_config(), **terms}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """Always raises an `InputError`: a detector builds its own layer."""
        # `clone_model` comes here. Its result would be no detector, and would not be calibrated.
        raise InputError(
            "A detector cannot be cloned layer by layer. Use type(model).from_config("
            "model.get_config()) for a fresh one, and keras.saving for a copy with its weights. "
            f"Received: {config.get('name')}"
        )


def normal_quantile(scores: Sequence[float] | np.ndarray, contamination: float) -> float:
    """The threshold that at most a share `contamination` of these normal scores exceeds.

    Args:
        scores: Scores of held-out normal images, `(n,)`, n at least 1.
        contamination: Share of normal images, in [0, 1), that may be labelled anomalous; with 0
            the threshold is the highest score.

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
    return float(descending[count_above(len(descending), contamination)])


def count_above(n: int, contamination: float) -> int:
    """How many of n normal scores `normal_quantile` leaves above itself; at most n − 1."""
    # The product of a decimal fraction and a count may fall just short of a whole number.
    return min(int(np.floor(contamination * n + 1e-9)), n - 1)
