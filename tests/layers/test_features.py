"""Rows of features: their parts, their scale, their networks, the memory and the map."""

import keras
import numpy as np
import pytest

from ede_keras.layers.anomaly_map import PlaceMap
from ede_keras.layers.feature_memory import FeatureMemory, highest_mean
from ede_keras.layers.feature_networks import (
    build_feature_decoder,
    build_feature_encoder,
    latent_length,
)
from ede_keras.layers.feature_row import FeatureRow, FeatureScaling, FeatureShape, join

SHAPE = FeatureShape(vector=5, height=2, width=3, channels=4)


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    deviations = np.r_[1.0, 2, 3, 0.1, 1, np.tile([1.0, 5, 0.2, 1], 6)]
    return (random.normal(size=(40, 29)) * deviations + 3).astype("float32")


def test_the_parts_of_a_row(rows):
    vectors, places = SHAPE.split(rows)
    np.testing.assert_array_equal(vectors, rows[:, :5])
    np.testing.assert_array_equal(places[:, 4, 1], rows[:, 5 + 4 * 4 + 1])
    np.testing.assert_array_equal(join(vectors, places), rows)


def test_a_row_has_vectors_and_places_of_length_1():
    random = np.random.default_rng(1)
    vectors = random.normal(size=(2, 5)).astype("float32")
    maps = random.normal(size=(2, 4, 5, 3)).astype("float32")
    found, places = FeatureShape(5, 4, 5, 3).split(FeatureRow()(vectors, maps))
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(found, vectors / length, rtol=1e-5)
    inner = maps[:, 0:3, 1:4].mean((1, 2))  # around row 1, column 2
    corner = maps[:, 0:2, 0:2].mean((1, 2))  # what lies beyond the border does not count
    for place, around in ((1 * 5 + 2, inner), (0, corner)):
        expected = around / np.linalg.norm(around, axis=1, keepdims=True)
        np.testing.assert_allclose(places[:, place], expected, rtol=1e-5)


@pytest.mark.parametrize("by_channel", [True, False])
def test_scaling(rows, by_channel):
    layer = FeatureScaling(SHAPE, by_channel)
    np.testing.assert_array_equal(layer(rows), rows)  # as it is before `adapt`
    layer.adapt(rows)
    vectors, places = (np.asarray(part) for part in SHAPE.split(layer(rows)))
    np.testing.assert_allclose(vectors.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(places.mean((0, 1)), 0, atol=1e-5)
    # Both parts have half of a mean over the row, which is 1.
    np.testing.assert_allclose(np.square(vectors).sum(1).mean(), 29 / 2, rtol=1e-4)
    np.testing.assert_allclose(np.square(places).sum((1, 2)).mean(), 29 / 2, rtol=1e-4)
    before, after = rows[:, :5].std(0), vectors.std(0)
    own = before + before.mean() if by_channel else np.ones(5)
    ratio = after * own / before
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)


def test_features_that_never_vary_stay_finite():
    layer = FeatureScaling(SHAPE, True)
    layer.adapt(np.ones((3, 29), "float32"))
    np.testing.assert_allclose(layer(np.ones((2, 29), "float32")), 0, atol=1e-4)


def test_networks_treat_all_places_alike(rows):
    encoder = build_feature_encoder(SHAPE, latent_dim=6, base_width=2)
    decoder = build_feature_decoder(SHAPE, latent_dim=6, base_width=2)
    z = np.asarray(encoder(rows))
    assert z.shape == (40, 6 + 6 * 3) == (40, latent_length(SHAPE, 6)) and np.abs(z).max() <= 1
    assert decoder(z).shape == rows.shape
    order = [3, 1, 0, 2, 5, 4]
    vectors, places = (np.asarray(part) for part in SHAPE.split(rows))
    moved = np.asarray(encoder(join(vectors, places[:, order])))
    np.testing.assert_allclose(moved[:, :6], z[:, :6], atol=1e-5)
    np.testing.assert_allclose(
        moved[:, 6:].reshape(-1, 6, 3), z[:, 6:].reshape(-1, 6, 3)[:, order], atol=1e-5
    )
    again = decoder(moved)
    np.testing.assert_allclose(
        SHAPE.split(again)[1], np.asarray(SHAPE.split(decoder(z))[1])[:, order], atol=1e-4
    )


def test_highest_mean():
    values = np.random.default_rng(0).permuted(np.tile(np.arange(100.0), (2, 1)), axis=1)
    np.testing.assert_allclose(highest_mean(values), [98.5, 98.5])  # the two highest of a hundred
    np.testing.assert_allclose(highest_mean(values[:, :7]), values[:, :7].max(1))


@pytest.mark.parametrize("memory_size", [3, 40, 60])
def test_memory(rows, memory_size):
    def scale(part):
        return part * 2

    layer = FeatureMemory(SHAPE, memory_size)
    terms, places = layer(rows)
    assert not np.any(terms["nearest_vector"]) and not np.any(places)
    layer.adapt(rows[:30], scale)
    vectors, spots = (np.asarray(part) for part in SHAPE.split(rows * 2))
    # Of no more images than fit, all are kept; all 180 places are, in any case.
    kept = np.asarray(layer.vectors)
    assert {tuple(v) for v in kept} <= {tuple(v) for v in vectors[:30]}
    assert len(np.unique(kept, axis=0)) == min(memory_size, 30)
    terms, places = layer(rows * 2)
    nearest = np.square(vectors[:, None] - kept).mean(-1).min(1)
    np.testing.assert_allclose(terms["nearest_vector"], nearest, rtol=1e-4, atol=1e-5)
    known = spots[:30].reshape(-1, 4)
    nearest = np.square(spots[:, :, None] - known).mean(-1).min(-1)
    np.testing.assert_allclose(places, nearest.reshape(40, 2, 3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(terms["nearest_place"], nearest.max(1), rtol=1e-4, atol=1e-5)


def test_the_map_is_in_deviations_of_normal_places():
    random = np.random.default_rng(0)
    normal = {"a": random.normal(5, 2, (50, 2, 2)), "b": random.normal(1, 0.1, (50, 2, 2))}
    layer = PlaceMap(["b", "a"], (2, 2))
    layer.adapt(normal)
    image = {"a": np.full((1, 2, 2), 9.0), "b": np.full((1, 2, 2), 1.0)}
    expected = sum((image[k] - normal[k].mean()) / normal[k].std() for k in "ab")
    np.testing.assert_allclose(layer(image), expected, rtol=1e-4)
    large = PlaceMap(["a"], (8, 6))({"a": np.arange(4.0).reshape(1, 2, 2)})
    assert large.shape == (1, 8, 6) and large[0, 0, 0] == 0 and large[0, -1, -1] == 3


@pytest.mark.parametrize(
    "layer",
    [FeatureScaling(SHAPE, True), FeatureMemory(SHAPE, 7), PlaceMap(["a"], (8, 6))],
)
def test_layers_come_back_from_their_configs(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    assert [w.shape for w in again.weights] == [w.shape for w in layer.weights]
