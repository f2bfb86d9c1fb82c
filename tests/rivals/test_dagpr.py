"""DAGPR: its Gaussian process against NumPy's matrices, and what it may not depend on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ede_keras.rivals import DAGPR, dagpr


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return DAGPR((16, 16, 1), base_width=2, latent_dim=3)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (30, 16, 16, 1), dtype=np.uint8)


def by_hand(process, known, y, z):
    """`(mean, variance)` at z from the hyper-parameters, in float64."""
    length, variance, noise = (float(v) for v in (process.length, process.variance, process.noise))

    def kernel(a, b):
        squares = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
        return variance * np.exp(-squares / (2 * length**2))

    inverse = np.linalg.inv(kernel(known, known) + noise * np.eye(len(known)))
    k = kernel(z, known)
    mean = y.mean() + k @ inverse @ (y - y.mean())
    return mean, variance + noise - np.einsum("ij,jk,ik->i", k, inverse, k)


def test_the_process_is_that_of_the_textbook():
    """Also where there are fewer examples than places for them."""
    rng = np.random.default_rng(0)
    known, z = (rng.normal(size=(n, 3)) for n in (40, 9))
    known, z = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (known, z))
    y = np.sin(3 * known[:, 0]) - 4 + 0.1 * rng.normal(size=40)
    process = dagpr.GaussianProcess(3, 50)
    process.learn(known, y)
    seen = np.linspace(-6, -2, 9)
    mean, variance = by_hand(process, known, y, z)
    expected = 0.5 * ((seen - mean) ** 2 / variance + np.log(variance))
    found = process([z.astype("float32"), seen.astype("float32")])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert abs(mean - np.sin(3 * z[:, 0]) + 4).max() < 0.5  # it has learned the function


def test_it_is_surprised_by_unusual_residuals_and_by_unusual_latents():
    rng = np.random.default_rng(0)
    known = np.array([1.0, 0, 0]) + 0.2 * rng.normal(size=(60, 3))
    process = dagpr.GaussianProcess(3, 60)
    process.learn(known, 2 * known[:, 1] + 0.01 * rng.normal(size=60))
    usual, small, large, elsewhere = np.asarray(
        process([np.float32([[1, 0, 0]] * 3 + [[-1, 0, 0]]), np.float32([0, -0.3, 0.3, 0])])
    )
    assert usual < min(small, large, elsewhere)


def test_loss_and_terms(model, images):
    x = images / np.float32(127.5) - 1
    z = np.asarray(model.encoder(x, training=True))
    again = np.asarray(model.decoder(z, training=True), "float64")
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(model.training_loss(x), ((x - again) ** 2).mean(), rtol=1e-5)
    model.fit_process(images)
    terms, z, again = model.score_terms(x)
    y = np.log(((x - np.asarray(again, "float64")) ** 2).mean(axis=(1, 2, 3)) + 1e-6)
    z = np.asarray(z, "float64")
    mean, variance = by_hand(model.process, z, y, z)
    expected = 0.5 * ((y - mean) ** 2 / variance + np.log(variance))
    np.testing.assert_allclose(terms["surprise"], expected, rtol=1e-2, atol=1e-2)


def test_an_image_that_comes_again_counts_once(model, images):
    model.fit_process(images)
    once = sorted(map(tuple, np.asarray(model.process.known)[:30]))
    batches = tf.data.Dataset.from_tensor_slices(images).batch(7).repeat()
    model.fit_process(batches)
    np.testing.assert_allclose(
        sorted(map(tuple, np.asarray(model.process.known)[:30])), once, atol=1e-4
    )
    assert not np.asarray(model.process.known)[30:].any()


def test_the_process_is_fitted_after_the_training(model, images):
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(images, batch_size=10, epochs=2, verbose=0)
    x = images / np.float32(127.5) - 1
    z = np.asarray(model.encoder(x, training=False))
    np.testing.assert_allclose(
        sorted(map(tuple, np.asarray(model.process.known)[:30])), sorted(map(tuple, z)), atol=1e-4
    )


@pytest.mark.filterwarnings("ignore:The images' highest pixel")
@pytest.mark.parametrize("n", [1, 2])
def test_few_or_black_images(model, n):
    images = np.zeros((2, 16, 16, 1), "uint8")
    images[0] += n - 1
    model.fit(images, epochs=1, verbose=0)
    model.set_threshold(0)
    assert np.isfinite(model.predict(images, verbose=0)["score"]).all()
