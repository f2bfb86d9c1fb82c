"""The nearest normal image and the residual of principal components, against scikit-learn."""

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from ede_keras.layers.image_memory import ImageMemory

SHAPE = (8, 8, 1)


@pytest.fixture
def images():
    """Smooth images of 60 sizes and brightnesses, in [-1, 1]."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 64)) + 0.1 * rng.normal(size=(60, 64))
    return np.tanh(x / 3).reshape(60, *SHAPE).astype("float32")


def test_components_that_explain_nearly_all_are_left_out(images):
    """The images vary in 5 directions and in noise of little variance."""
    layer = fitted(images, components=30)
    used = np.abs(layer.directions.numpy()).sum(axis=0) > 0
    share = PCA(30).fit(rows(images)).explained_variance_ratio_.cumsum()
    assert used.sum() == 1 + np.argmax(share >= 0.99) < 30


def fitted(x, components=4, memory_size=100):
    layer = ImageMemory(SHAPE, components, memory_size)
    layer.adapt(x)
    return layer


def rows(x):
    """u of the docstring."""
    flat = x.reshape(len(x), -1).astype("float64") + 1
    return flat / np.sqrt(flat.mean(axis=1, keepdims=True) + 0.02)


def test_distance_and_residual_are_those_of_scikit_learn(images):
    normal, new = rows(images[:40]), rows(images[40:])
    pca = PCA(4, svd_solver="full").fit(normal)
    search = NearestNeighbors(n_neighbors=1).fit(pca.transform(normal))
    nearest = search.kneighbors(pca.transform(new))[0][:, 0]
    left = np.abs(new - pca.inverse_transform(pca.transform(new))).reshape(20, 8, 8)
    distance, residual = fitted(images[:40])(images[40:])
    np.testing.assert_allclose(distance, nearest, rtol=1e-3)
    np.testing.assert_allclose(residual, left, atol=1e-4)


def test_a_remembered_image_is_at_no_distance(images):
    assert np.max(fitted(images)(images)[0]) < 1e-4


def test_colours_are_averaged_in_the_residual():
    x = np.random.default_rng(0).uniform(-1, 1, (30, 8, 8, 3)).astype("float32")
    layer = ImageMemory((8, 8, 3), 2, 30)
    layer.adapt(x)
    u = rows(x)
    pca = PCA(2, svd_solver="full").fit(u)
    left = np.abs(u - pca.inverse_transform(pca.transform(u))).reshape(30, 8, 8, 3)
    np.testing.assert_allclose(layer(x)[1], left.mean(axis=-1), atol=0.02)


def test_few_images_have_half_as_many_components(images):
    layer = fitted(images[:6], components=64)
    used = np.abs(layer.directions.numpy()).sum(axis=0) > 0
    assert used.sum() == 3
    distance, residual = layer(images[6:])
    assert np.isfinite(distance).all() and np.isfinite(residual).all() and np.min(distance) > 0


def test_a_black_image_is_no_division_by_0(images):
    found = fitted(images)(np.full((1, *SHAPE), -1.0, "float32"))
    assert all(np.isfinite(values).all() for values in found)


def test_before_adapt_everything_is_0(images):
    distance, residual = ImageMemory(SHAPE, 4, 10)(images)
    assert not np.any(distance) and not np.any(residual)


def test_it_comes_back_from_its_config():
    layer = ImageMemory(SHAPE, 4, 10, name="image_memory")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is ImageMemory and again.get_config() == layer.get_config()
