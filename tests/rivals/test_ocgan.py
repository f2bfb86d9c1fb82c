"""OCGAN: its losses, its score and the mining against hand arithmetic."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ede_keras.rivals import ocgan


@pytest.fixture
def model():
    return ocgan.OCGAN((16, 16, 1), base_width=2, latent_dim=3)


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, "float64")))


class Draws:
    """The random numbers of a model, drawn once more in the same order."""

    def __init__(self):
        self.seed = keras.random.SeedGenerator(0)

    def noisy(self, x):
        return x + keras.random.normal(x.shape, stddev=0.2, seed=self.seed)

    def latents(self, n=5):
        return keras.random.uniform((n, 3), -1.0, 1.0, seed=self.seed)


def test_autoencoder_loss(model, x):
    loss = model.autoencoder_loss(x)
    draws = Draws()
    z = model.encoder(draws.noisy(x), training=True)
    again = np.asarray(model.decoder(z, training=True), "float64")
    of_z = sigmoid(model.latent_discriminator(z))
    negatives = model.decoder(model.mine(draws.latents()), training=True)
    of_negatives = sigmoid(model.image_discriminator(negatives, training=True)[1])
    expected = 250 * np.square(x - again).mean()
    expected += -10 * np.log(of_z).mean() - np.log(of_negatives).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-3)


def test_discriminator_loss(model, x):
    loss = model.discriminator_loss(x)
    draws = Draws()
    z = model.encoder(draws.noisy(x), training=True)
    drawn = draws.latents()
    assert np.abs(drawn).max() < 1 and np.abs(z).max() < 1
    again, fake = (model.decoder(a, training=True) for a in (z, drawn))
    expected = 0
    for network, real, other in (
        (lambda a: model.latent_discriminator(a), drawn, z),
        (lambda a: model.image_discriminator(a, training=True)[1], x, fake),
        (lambda a: model.classifier(a, training=True)[1], again, fake),
    ):
        right, wrong = sigmoid(network(real)), sigmoid(network(other))
        expected -= 0.5 * (np.log(right).mean() + np.log(1 - wrong).mean())
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_negatives_are_mined_by_gradient_steps(model):
    """With a decoder and a classifier that are linear, and the derivatives by hand."""
    rng = np.random.default_rng(3)
    decode, weights = rng.normal(size=(3, 4)), rng.normal(size=(4, 1))
    latents, images = keras.Input((3,)), keras.Input((4,))
    model.decoder = keras.Model(latents, keras.layers.Dense(4, use_bias=False)(latents))
    logits = keras.layers.Dense(1, use_bias=False)(images)
    model.classifier = keras.Model(images, [images, logits])
    model.decoder.set_weights([decode])
    model.classifier.set_weights([weights])
    start = rng.uniform(-1, 1, (6, 3)).astype("float32")
    place, direction = start.astype("float64"), (decode @ weights)[:, 0]
    for _ in range(ocgan.MINING_STEPS):
        v = np.tanh(place)
        place = place - 2.0 * sigmoid(v @ direction)[:, None] * (1 - v**2) * direction
    found = model.mine(tf.constant(start))
    np.testing.assert_allclose(found, np.tanh(place), rtol=1e-3, atol=1e-4)
    # The classifier takes them for normal images less than before.
    assert ((np.tanh(place) - np.tanh(start)) @ direction < 0).all()
    np.testing.assert_allclose(model.mine(tf.constant(start[:1])), found[:1], rtol=1e-4)


def test_the_score_is_the_residual(model, x):
    terms, z, again = model.score_terms(x)
    expected = np.square(x - np.asarray(again, "float64")).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(terms["residual"], expected, rtol=1e-5)
    np.testing.assert_array_equal(z, model.encoder(x, training=False))  # without noise
    assert model.score_weights == {"residual": 1}


def test_each_turn_moves_its_own_networks(model, x):
    model.compile()
    own = {
        "autoencoder_loss": ("encoder", "decoder"),
        "discriminator_loss": ("latent_discriminator", "image_discriminator", "classifier"),
    }
    for turn, (loss, names) in zip(model.turns, own.items(), strict=True):
        assert turn.networks == [getattr(model, name) for name in names]
        # Each has a gradient, so none of them stays as it was.
        with tf.GradientTape() as tape:
            value = getattr(model, loss)(x)
        variables = [v.value for network in turn.networks for v in network.trainable_variables]
        assert None not in tape.gradient(value, variables)
    with tf.GradientTape() as tape:
        loss = model.discriminator_loss(x)
    others = [v.value for v in model.trained_variables]
    assert tape.gradient(loss, others) == [None] * len(others)
    before = [np.array(v) for v in model.trainable_variables]
    model.train_step(x * 127.5 + 127.5)
    assert not any(map(np.array_equal, before, model.trainable_variables))
