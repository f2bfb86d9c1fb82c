"""Training images in other light."""

import keras
import numpy as np
import pytest

from ede_keras.layers.lighting import Lighting


def photographs(spread, n=200):
    """Images whose brightness has this deviation, as a share of its mean."""
    rng = np.random.default_rng(0)
    factors = np.exp(spread * rng.normal(size=(n, 1, 1, 1)))
    return np.clip(100 * factors * np.ones((n, 4, 4, 1)), 0, 255)


@pytest.mark.parametrize(("spread", "expected"), [(0.0, 0.1823), (0.05, 0.16), (0.3, 0.0)])
def test_images_are_varied_as_far_as_they_do_not_vary(spread, expected):
    layer = Lighting(0.2)
    layer.adapt(photographs(spread))
    assert float(layer.range) == pytest.approx(expected, abs=0.01)


def test_each_image_has_one_factor_within_the_range():
    layer = Lighting(0.2)
    layer.adapt(photographs(0.0))
    pixels = np.random.default_rng(0).uniform(20, 150, (500, 4, 4, 1)).astype("float32")
    varied = np.asarray(layer(pixels / 127.5 - 1, step=7))
    factors = (varied + 1) * 127.5 / pixels
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1], factors.shape), 1e-4)
    logs = np.log(factors[:, 0, 0, 0])
    assert np.abs(logs).max() <= np.log(1.2) + 1e-4
    assert logs.std() == pytest.approx(np.log(1.2) / np.sqrt(3), rel=0.1)
    np.testing.assert_allclose(layer.vary_pixels(7, pixels), (varied + 1) * 127.5, rtol=1e-4)


def test_the_step_alone_decides():
    layer = Lighting(0.2)
    layer.adapt(photographs(0.0))
    x = np.random.default_rng(0).uniform(-1, 0, (6, 4, 4, 1)).astype("float32")
    np.testing.assert_array_equal(layer(x, step=3), layer(x, step=3))
    assert np.abs(np.asarray(layer(x, step=3)) - layer(x, step=4)).max() > 0.01


def test_white_stays_white_and_nothing_happens_before_adapt():
    layer = Lighting(0.2)
    x = np.random.default_rng(0).uniform(-1, 1, (50, 4, 4, 1)).astype("float32")
    np.testing.assert_allclose(layer(x, step=0), x, atol=1e-6)
    layer.adapt(photographs(0.0))
    assert np.max(layer(x, step=0)) <= 1 and np.min(layer(x, step=0)) >= -1


def test_it_comes_back_from_its_config():
    layer = Lighting(0.1, name="lighting")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is Lighting and again.get_config() == layer.get_config()
