"""The nearest kept code, against a search of all."""

import keras
import numpy as np
import pytest

from ede_keras.layers.nearest import NearestCode


@pytest.fixture
def layer():
    layer = NearestCode(name="codes")
    layer.flat = layer.add_codes("flat", 7, 3)
    layer.by_view = layer.add_codes("by_view", 2, 5, 4)
    layer.built = True
    return layer


@pytest.fixture
def codes():
    random = np.random.default_rng(0)
    return random.normal(size=(7, 3)), random.normal(size=(2, 5, 4))


def nearest(code, kept):
    return kept[((kept - code) ** 2).sum(axis=1).argmin()]


def test_the_nearest_of_all(layer, codes):
    flat, by_view = codes
    layer.keep("flat", flat)
    layer.keep("by_view", by_view)
    random = np.random.default_rng(1)
    asked = random.normal(size=(6, 3)).astype("float32")
    expected = [nearest(code, flat) for code in asked]
    np.testing.assert_allclose(layer.find("flat", asked), expected, rtol=1e-6)
    asked = random.normal(size=(2, 6, 4)).astype("float32")
    expected = [
        [nearest(code, kept) for code in view] for view, kept in zip(asked, by_view, strict=True)
    ]
    np.testing.assert_allclose(layer.find("by_view", asked), expected, rtol=1e-6)


def test_files_have_the_codes_alone(layer, codes):
    """So those that were written before there were lengths can be read."""
    layer.keep("flat", codes[0])
    layer.keep("by_view", codes[1])
    store = {}
    layer.save_own_variables(store)
    assert sorted(value.shape for value in store.values()) == [(2, 5, 4), (7, 3)]
    lengths = [np.asarray(weight) for weight in layer.weights]
    for weight in layer.weights:
        weight.assign(keras.ops.zeros_like(weight))
    layer.load_own_variables(store)
    for weight, before in zip(layer.weights, lengths, strict=True):
        np.testing.assert_allclose(weight, before, rtol=1e-6)
