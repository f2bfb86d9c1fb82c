"""Isolation forest: the score says how few random cuts separate an image from normal ones."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ede_keras.rivals.fitted import Fitted, FittedLayer

TREES, IMAGES_PER_TREE = 100, 256
# A tree of n images is at most log2(n) deep and has fewer than 2 n nodes.
DEPTH, NODES = 8, 511


@keras.saving.register_keras_serializable(package="ede_keras")
class Trees(FittedLayer):
    """2^(−mean path length / that of a random tree); and the normal images' median."""

    def add_own_weights(self) -> None:
        """Of each node of each tree: what it compares, its children, and a leaf's path length."""
        shape = (TREES, NODES)
        self.feature = self.zeros("feature", *shape)
        self.bound = self.zeros("bound", *shape)
        self.left, self.right = self.zeros("left", *shape), self.zeros("right", *shape)
        self.cuts = self.zeros("cuts", *shape)
        self.usual = self.add_weight((), "ones", trainable=False, name="usual")
        self.median = self.zeros("median", self.row_length)

    def call(self, rows: Any) -> tuple[Any, Any]:
        """`(score, median)`."""
        place = tf.zeros((TREES, tf.shape(rows)[0]), "int32")

        def look(values):
            return tf.gather(values, place, batch_dims=1)

        columns = tf.transpose(rows)
        for _ in range(DEPTH):  # a leaf is its own child
            images = tf.range(tf.shape(rows)[0])[None] + tf.zeros_like(place)
            chosen = tf.stack([tf.cast(look(self.feature), "int32"), images], axis=-1)
            is_left = tf.gather_nd(columns, chosen) <= look(self.bound)
            place = tf.cast(tf.where(is_left, look(self.left), look(self.right)), "int32")
        mean = tf.reduce_mean(look(self.cuts), axis=0)
        return ops.power(2.0, -mean / self.usual), self.median + ops.zeros_like(rows)


@keras.saving.register_keras_serializable(package="ede_keras")
class IsolationForest(Fitted):
    """An isolation forest on the pixels.

    The anomaly map shows the difference from the median of normal images, which is no part of the
    score.

    Reference: Liu et al., "Isolation forest", ICDM 2008.
    """

    layer_class = Trees
    score_weights: ClassVar[Mapping[str, float]] = {"isolation": 1.0}

    def learn(self, rows: np.ndarray) -> None:
        """scikit-learn's IsolationForest, its trees as arrays."""
        from sklearn.ensemble import IsolationForest as Forest  # slow to import

        most = min(IMAGES_PER_TREE, len(rows))
        forest = Forest(n_estimators=TREES, max_samples=most, random_state=0).fit(rows)
        found = {
            name: np.zeros((TREES, NODES), "float32")
            for name in ("feature", "bound", "left", "right", "cuts")
        }
        for t, estimator in enumerate(forest.estimators_):
            tree, n = estimator.tree_, estimator.tree_.node_count
            own = np.arange(n)
            is_leaf = tree.children_left < 0
            found["feature"][t, :n] = np.where(is_leaf, 0, tree.feature)
            found["bound"][t, :n] = np.where(is_leaf, 0, tree.threshold)
            found["left"][t, :n] = np.where(is_leaf, own, tree.children_left)
            found["right"][t, :n] = np.where(is_leaf, own, tree.children_right)
            # The cuts to a leaf, and those that its images would still need.
            found["cuts"][t, :n] = _depths(tree) + _usual_path(tree.n_node_samples)
        for name, values in found.items():
            getattr(self.fitted, name).assign(values)
        self.fitted.usual.assign(max(float(_usual_path(np.array([most]))[0]), 1e-6))
        self.fitted.median.assign(np.median(rows, axis=0))


def _depths(tree):
    """How many cuts lead to each node; parents come before their children."""
    depths = np.zeros(tree.node_count)
    for node in range(tree.node_count):
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depths[child] = depths[node] + 1
    return depths


def _usual_path(n):
    """The mean path length of a random tree of n images (Liu et al., Equation 1)."""
    n = np.asarray(n, "float64")
    harmonic = np.log(np.maximum(n - 1, 1)) + np.euler_gamma
    path = 2 * harmonic - 2 * (n - 1) / np.maximum(n, 1)
    return np.where(n > 2, path, np.where(n == 2, 1.0, 0.0))
