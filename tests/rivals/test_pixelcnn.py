"""PixelCNN: its likelihood by hand, and that no pixel is predicted from itself or later ones."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from ede_keras.rivals import PixelCNN, pixelcnn


def make(colours):
    keras.utils.set_random_seed(0)
    return PixelCNN((16, 16, colours), base_width=30, latent_dim=31)


def draw(n, colours):
    return np.random.default_rng(0).uniform(-1, 1, (n, 16, 16, colours)).astype("float32")


@pytest.mark.parametrize("colours", [1, 3])
def test_bits_and_expected_pixels(colours):
    model, x = make(colours), draw(4, colours)
    levels = np.minimum(np.floor((x.astype("float64") + 1) / 2 * 16), 15).astype(int)
    middles = (np.arange(16) + 0.5) / 8 - 1
    hidden, logits = model.network(middles[levels].astype("float32"))
    logits = np.asarray(logits, "float64")
    assert logits.shape == (4, 16, 16, colours, 16)
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    bits = -np.log2(np.take_along_axis(p, levels[..., None], -1)).mean(axis=(1, 2, 3, 4))
    terms, z, expected = model.score_terms(x)
    np.testing.assert_allclose(terms["bits"], bits, rtol=1e-5)
    np.testing.assert_allclose(model.training_loss(x), bits.mean(), rtol=1e-5)
    np.testing.assert_allclose(expected, p @ middles, atol=1e-5)
    np.testing.assert_allclose(z, np.asarray(hidden).mean(axis=(1, 2)), atol=1e-5)


def test_levels_cover_the_range():
    levels = PixelCNN.to_levels(np.float32([-1.0, -0.876, -0.874, 0, 0.99, 1.0]))
    np.testing.assert_array_equal(levels, [0, 0, 1, 8, 15, 15])
    back = PixelCNN.to_levels(PixelCNN.to_pixels(np.arange(16, dtype="float32")))
    np.testing.assert_array_equal(back, np.arange(16))


@pytest.mark.parametrize("colours", [1, 3])
def test_no_prediction_depends_on_its_own_pixel_or_on_later_ones(colours):
    """Whatever the weights and biases; but the next pixel or colour does depend on it."""
    model, x = make(colours), draw(1, colours)
    rng = np.random.default_rng(1)
    model.network.set_weights([rng.normal(0, 0.2, w.shape) for w in model.network.get_weights()])
    x = np.asarray(PixelCNN.to_pixels(PixelCNN.to_levels(x)))
    before = np.asarray(model.network(x)[1]).reshape(-1, 16)
    for row, column, colour in itertools.product((0, 7, 15), (0, 8, 15), range(colours)):
        other = x.copy()
        other[0, row, column, colour] *= -1
        after = np.asarray(model.network(other)[1]).reshape(-1, 16)
        place = (row * 16 + column) * colours + colour
        np.testing.assert_array_equal(after[: place + 1], before[: place + 1])
        if colour + 1 < colours or column < 15:
            assert np.abs(after[place + 1] - before[place + 1]).max() > 1e-4


def test_the_probabilities_of_all_images_sum_to_one():
    """Images of two pixels of which all others are known: 16² of them."""
    model = make(1)
    x = np.repeat(draw(1, 1), 256, axis=0)
    values = np.asarray(PixelCNN.to_pixels(np.arange(16, dtype="float32")))
    x[:, 15, 14, 0], x[:, 15, 15, 0] = np.repeat(values, 16), np.tile(values, 16)
    nats = np.asarray(model.score_terms(x)[0]["bits"], "float64") * 256 * np.log(2)
    _, logits = model.network(PixelCNN.to_pixels(PixelCNN.to_levels(x[:1])))
    logs = np.asarray(ops.log_softmax(logits), "float64")[0, ..., 0, :].reshape(256, 16)
    levels = np.asarray(PixelCNN.to_levels(x[0])).astype(int).ravel()
    known = logs[np.arange(254), levels[:254]].sum()
    np.testing.assert_allclose(np.exp(-nats - known).sum(), 1, rtol=1e-2)


@pytest.mark.filterwarnings("ignore:The images' highest pixel")
def test_black_images_become_nearly_certain():
    model = make(1)
    images = np.zeros((8, 16, 16, 1), "uint8")
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(images, batch_size=2, epochs=30, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < 0.5 < history[0]


def test_masks():
    """A pixel's own value is read by its colour's later maps only with mask B."""
    layers = {
        strict: pixelcnn.MaskedConv2D(3, 3, colours=3, strict=strict) for strict in (True, False)
    }
    for strict, layer in layers.items():
        layer.build((None, 16, 16, 3))
        center = layer.mask[1, 1]
        np.testing.assert_array_equal(center, np.triu(np.ones((3, 3)), k=int(strict)))
        np.testing.assert_array_equal(
            layer.mask[:, :, 0, 0], [[1, 1, 1], [1, not strict, 0], [0] * 3]
        )
