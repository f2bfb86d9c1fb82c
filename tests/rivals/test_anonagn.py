"""AnoNAGN: its codes, losses and score by hand, and what the search for codes may not touch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ede_keras.rivals import AnoNAGN, anonagn


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return AnoNAGN((16, 16, 1), base_width=2, latent_dim=3)


def misfit(model, x, z):
    fake = np.asarray(model.generator(z, training=False), "float64")
    return np.square(x - fake).sum(axis=(1, 2, 3))


def test_loss_and_score(model, x):
    z = np.asarray(model.find_codes(x), "float64")
    fake = model.generator(z, training=True)
    z_hat = np.asarray(model.encoder(fake, training=True), "float64")
    expected = np.square(x - np.asarray(fake)).mean() + np.square(z - z_hat).mean()
    # Batch normalization has moved since, so the codes would be others: the loss at these.
    np.testing.assert_allclose(sum(model.losses_of(x, z)), expected, rtol=1e-5)
    terms, z, fake = model.score_terms(x)
    np.testing.assert_allclose(z, model.encoder(x, training=False), rtol=1e-6)
    np.testing.assert_allclose(fake, model.generator(z, training=False), rtol=1e-6)
    np.testing.assert_allclose(terms["reconstruction"], misfit(model, x, z) / 256, rtol=1e-5)


def test_a_step_goes_down_the_slope(model, x, monkeypatch):
    """The slope by differences; the length is the step's own."""
    monkeypatch.setattr(anonagn, "STEPS", 1)
    start = np.asarray(model.encoder(x, training=False), "float64")
    slope = np.zeros_like(start)
    for k in range(3):
        shift = 1e-3 * np.eye(3)[k]
        above, below = (misfit(model, x, (start + s).astype("float32")) for s in (shift, -shift))
        slope[:, k] = (above - below) / 2e-3
    step = np.asarray(model.find_codes(x)) - start
    lengths = np.linalg.norm(step, axis=1)
    np.testing.assert_allclose(lengths / np.sqrt(3), 0.1, rtol=1e-4)
    # Not quite 1, as LeakyReLU has kinks.
    assert (-(step * slope).sum(axis=1) / lengths / np.linalg.norm(slope, axis=1) > 0.99).all()


def test_codes_fit_better_than_the_encoders(model, x):
    z = model.encoder(x, training=False)
    assert (misfit(model, x, model.find_codes(x)) < misfit(model, x, z)).all()
    assert np.abs(model.find_codes(x)).max() <= 1


def test_a_code_does_not_depend_on_the_batch(model, x):
    np.testing.assert_allclose(model.find_codes(x[:1]), model.find_codes(x)[:1], atol=1e-4)


def test_the_search_moves_no_network_and_passes_no_gradient(model, x):
    before = model.get_weights()
    with tf.GradientTape() as tape:
        z = model.find_codes(x)
        total = tf.reduce_sum(z)
    assert all(g is None for g in tape.gradient(total, model.trained_variables))
    assert all(map(np.array_equal, before, model.get_weights()))


def test_a_step_of_training_moves_both_networks(model, x):
    model.compile(model.make_optimizer())
    before = [network.get_weights() for network in model.trained_networks]
    model.train_step(x * 127.5 + 127.5)
    for network, weights in zip(model.trained_networks, before, strict=True):
        assert not all(map(np.array_equal, weights, network.get_weights()))


def test_the_codes_do_not_collapse(model):
    """One code for all images would have no latent loss: the images' loss keeps them apart."""
    images = np.zeros((64, 16, 16, 1), "uint8")
    images[:32, :8], images[32:, 8:] = 255, 255
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(images, batch_size=16, epochs=15, verbose=0)
    x = images[[0, -1]] / np.float32(127.5) - 1
    terms, z, _ = model.score_terms(x)
    assert np.linalg.norm(z[0] - z[1]) > 0.2
    assert np.max(terms["reconstruction"]) < 0.5  # of 1, that of one grey image for both


@pytest.mark.filterwarnings("ignore:The images' highest pixel")
def test_black_images(model):
    images = np.zeros((2, 16, 16, 1), "uint8")
    history = model.fit(images, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
