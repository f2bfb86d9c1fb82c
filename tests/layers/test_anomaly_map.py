"""The anomaly map of a reconstruction, in deviations of normal images."""

import keras
import numpy as np

from ede_keras.layers.anomaly_map import ResidualMap


def test_before_calibration_it_is_the_residual():
    residuals = np.random.default_rng(0).random((3, 8, 8), "float32")
    layer = ResidualMap(["a", "b"], (8, 8))
    np.testing.assert_allclose(layer({"a": residuals, "b": residuals}), 2 * residuals)


def test_each_pixel_has_its_own_scale():
    random = np.random.default_rng(0)
    normal = random.gamma(2, 1, (40, 8, 8)) * random.uniform(1, 9, (8, 8))
    layer = ResidualMap(["a", "b"], (8, 8))
    layer.adapt({"a": normal.astype("float32"), "b": 3 * normal[::-1].astype("float32")})
    center = (normal.sum(0) + 2 * normal.mean()) / 42
    variance = (np.square(normal - center).sum(0) + 2 * normal.var()) / 42
    deviation = np.sqrt(variance + normal.var())
    some = normal[:5].astype("float32")
    found = np.asarray(layer({"a": some, "b": 3 * some}))
    np.testing.assert_allclose(found, 2 * (some - center) / deviation, rtol=1e-4, atol=1e-4)


def test_few_images_and_images_without_residual():
    layer = ResidualMap(["residual"], (4, 4))
    one = np.random.default_rng(0).random((1, 4, 4), "float32")
    for residuals in (one, np.zeros((3, 4, 4), "float32")):
        layer.adapt({"residual": residuals})
        found = np.asarray(layer({"residual": residuals}))
        assert found.shape == (len(residuals), 4, 4) and np.isfinite(found).all()
        assert np.abs(found).max() < 5


def test_it_comes_back_from_its_config():
    layer = ResidualMap(["residual"], (4, 6), name="map")
    again = ResidualMap.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert isinstance(
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)),
        ResidualMap,
    )
