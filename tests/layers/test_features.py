"""Rows of features: their parts, their scale, their networks, the memory and the map."""

import keras
import numpy as np
import pytest
import scipy.linalg

from ede_keras.layers.anomaly_map import PlaceMap
from ede_keras.layers.feature_memory import FeatureMemory, choose_spread, highest_mean
from ede_keras.layers.feature_networks import (
    build_feature_decoder,
    build_feature_encoder,
    latent_length,
)
from ede_keras.layers.feature_row import FeatureRow, FeatureScaling, FeatureShape, join

SHAPE = FeatureShape(vector=5, height=2, width=3, groups=(1, 3))


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


def test_the_row_of_three_maps():
    random = np.random.default_rng(1)
    sizes = (4, 6, 3), (2, 3, 2), (2, 3, 5)
    maps = [random.normal(size=(2, *size)).astype("float32") for size in sizes]
    shape = FeatureShape.of_maps([m.shape for m in maps])
    assert shape == FeatureShape(10, 4, 6, (3, 2))
    rows = FeatureRow()(maps)
    assert FeatureRow().compute_output_shape([m.shape for m in maps]) == rows.shape
    vectors, places = (np.asarray(part) for part in shape.split(rows))
    means = [m.mean((1, 2)) for m in maps]
    expected = [mean / np.linalg.norm(mean, axis=1, keepdims=True) for mean in means]
    np.testing.assert_allclose(vectors, np.concatenate(expected, 1), rtol=1e-5)
    inner = maps[0][:, 0:3, 1:4].mean((1, 2))  # around row 1, column 2
    corner = maps[0][:, 0:2, 0:2].mean((1, 2))  # what lies beyond the border does not count
    for place, around in ((1 * 6 + 2, inner), (0, corner)):
        np.testing.assert_allclose(places[:, place, :3], around, rtol=1e-4, atol=1e-6)
    # The corner of a coarse map stays in the corner of the finer grid.
    around = maps[1][:, 0:2, 0:2].mean((1, 2))
    np.testing.assert_allclose(places[:, 0, 3:], around, rtol=1e-4, atol=1e-6)


def test_a_row_of_two_maps_has_places_of_both():
    maps = [np.ones((1, 4, 4, 3), "float32"), np.ones((1, 2, 2, 5), "float32")]
    assert FeatureShape.of_maps([m.shape for m in maps]) == FeatureShape(8, 4, 4, (3, 5))
    assert FeatureRow()(maps).shape == (1, 8 + 16 * 8)


def soften(group):
    """Divided by its length and a tenth of the mean length of all of them."""
    lengths = np.linalg.norm(group, axis=-1, keepdims=True)
    return group / (lengths + 0.1 * lengths.mean())


def whiten(codes, by_channel):
    """Independent of the layer: by scipy's matrix root; with a mean square of 1."""
    if by_channel:
        codes = codes / (codes.std(0) + codes.std(0).mean())
    covariance = np.cov(codes.T, bias=True)
    shrunk = covariance + 0.1 * np.diag(covariance).mean() * np.eye(len(covariance))
    white = (codes - codes.mean(0)) @ np.linalg.inv(scipy.linalg.sqrtm(shrunk))
    return white / np.sqrt(np.square(white).mean())


@pytest.mark.parametrize("by_channel", [True, False])
def test_scaling(rows, by_channel):
    layer = FeatureScaling(SHAPE, by_channel)
    layer.adapt(rows)
    vectors, places = (np.asarray(part) for part in SHAPE.split(layer(rows)))
    np.testing.assert_allclose(vectors.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(places.mean((0, 1)), 0, atol=1e-5)
    # Both parts have half of a mean over the row, which is 1.
    np.testing.assert_allclose(np.square(vectors).sum(1).mean(), 29 / 2, rtol=1e-4)
    np.testing.assert_allclose(np.square(places).sum((1, 2)).mean(), 29 / 2, rtol=1e-4)
    raw, at = (np.asarray(part, "float64") for part in SHAPE.split(rows))
    np.testing.assert_allclose(
        vectors, whiten(raw, by_channel) * np.sqrt(29 / 10), rtol=1e-3, atol=1e-3
    )
    soft = np.concatenate([soften(at[..., :1]), soften(at[..., 1:])], axis=-1)
    expected = whiten(soft.reshape(-1, 4), by_channel) * np.sqrt(29 / 48)
    np.testing.assert_allclose(places.reshape(-1, 4), expected, rtol=1e-3, atol=1e-3)


def test_scaling_does_not_depend_on_how_rows_are_read(rows):
    many = np.concatenate([rows, rows * 1.1, rows * 0.9])  # two chunks
    layers = [FeatureScaling(SHAPE, False), FeatureScaling(SHAPE, False)]
    for layer, order in zip(layers, (np.arange(120), np.arange(120)[::-1]), strict=True):
        layer.adapt(many[order])
    np.testing.assert_allclose(layers[0](rows), layers[1](rows), rtol=1e-3, atol=1e-4)


def test_features_that_never_vary_stay_finite():
    layer = FeatureScaling(SHAPE, True)
    layer.adapt(np.ones((3, 29), "float32"))
    np.testing.assert_allclose(layer(np.ones((2, 29), "float32")), 0, atol=1e-4)
    layer.adapt(np.zeros((3, 29), "float32"))
    assert np.isfinite(layer(np.zeros((2, 29), "float32"))).all()


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


def test_chosen_codes_are_spread_out():
    random = np.random.default_rng(0)
    frequent = random.normal(0, 0.01, (500, 5))
    rare = 10 * np.eye(5)
    codes = np.concatenate([frequent[:250], rare, frequent[250:]]).astype("float32")
    chosen = choose_spread(codes, 6)
    assert set(range(250, 255)) < set(chosen)  # one of the frequent ones stands for all of them
    everything = choose_spread(codes[:20], 50)
    assert sorted(everything) == list(range(20))
    assert sorted(choose_spread(np.zeros((4, 5), "float32"), 3)) == [0, 1, 2]
