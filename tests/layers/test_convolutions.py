"""The networks' own forms of a convolution are Keras' layers, forward and backward."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ede_keras.layers import convolutions
from ede_keras.layers.networks import HALVING

KINDS = {
    "whole map": ("Conv2D", (6, 10, 3), {"kernel_size": (6, 10)}),
    "single pixel": ("Conv2DTranspose", (1, 1, 3), {"kernel_size": (6, 10), "use_bias": False}),
    "to an image": ("Conv2DTranspose", (6, 10, 3), HALVING),
    "the smallest map": ("Conv2DTranspose", (1, 1, 4), HALVING),
}


def differentiate(layer, x):
    """The outputs, and the gradients of a function of them by inputs and weights."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        loss = tf.reduce_sum(tf.sin(y))
    return [y, *tape.gradient(loss, [x, *layer.trainable_variables])]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_same_as_keras_own(kind, jit_compile):
    name, shape, arguments = KINDS[kind]
    ours, theirs = (getattr(m, name)(5, **arguments) for m in (convolutions, keras.layers))
    x = tf.random.normal((4, *shape), seed=0)
    for layer in (ours, theirs):
        layer.build(x.shape)
    weights = [np.random.default_rng(1).normal(size=w.shape) for w in theirs.get_weights()]
    for layer in (ours, theirs):
        layer.set_weights(weights)
    assert ours.compute_output_shape(x.shape) == theirs(x).shape
    found = tf.function(differentiate, jit_compile=jit_compile)(ours, x)
    for a, b in zip(found, differentiate(theirs, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
