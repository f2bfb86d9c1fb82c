"""The distance to the nearest normal code, against NumPy and scikit-learn."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from ede_keras.layers.memory_bank import MemoryBank


@pytest.fixture
def codes():
    """Codes of 40 images in 3 views, 5 numbers each, correlated and of unequal widths."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(40, 3, 5)) @ rng.normal(size=(5, 5)) + 4).astype("float32")


def fitted(codes, memory_size):
    layer = MemoryBank(memory_size)
    layer.build(codes.shape)
    layer.adapt(codes)
    return layer


def test_is_the_mahalanobis_distance_to_the_nearest(codes):
    found = fitted(codes[:30], memory_size=30)(codes[30:])
    expected = []
    for view in range(3):
        normal = codes[:30, view].astype("float64")
        inverse = np.linalg.inv(np.cov(normal.T, bias=True))
        nearest = NearestNeighbors(
            n_neighbors=1, metric="mahalanobis", metric_params={"VI": inverse}
        )
        expected.append(nearest.fit(normal).kneighbors(codes[30:, view])[0][:, 0])
    np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-3)


def test_a_remembered_code_is_at_no_distance(codes):
    assert np.max(fitted(codes, memory_size=40)(codes)) < 1e-5


def test_places_left_over_move_nothing(codes):
    few, many = (fitted(codes[:30], n)(codes[30:]) for n in (30, 100))
    np.testing.assert_allclose(few, many, rtol=1e-4)


def test_a_small_memory_is_a_part_of_the_codes(codes):
    whole, part = (fitted(codes, n)(codes) for n in (40, 10))
    assert np.sum(np.asarray(part) < 1e-5) == 10
    assert np.all(np.asarray(part) >= np.asarray(whole) - 1e-5)


def test_directions_without_variance_are_not_blown_up(codes):
    codes[..., 4] = 1.0
    far = codes.copy()
    far[..., 4] += 1e-4
    assert np.max(fitted(codes, memory_size=40)(far)) < 1.0


def test_before_adapt_all_distances_are_0(codes):
    layer = MemoryBank(10)
    layer.build(codes.shape)
    np.testing.assert_array_equal(layer(codes), np.zeros(40))
