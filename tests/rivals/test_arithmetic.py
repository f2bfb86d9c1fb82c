"""The losses and scores of other methods against hand arithmetic, or scikit-learn's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import KernelDensity, NearestNeighbors
from sklearn.svm import OneClassSVM

from ede_keras.rivals import RIVALS, deep_svdd, kernel_density, one_class_svm, vae


@pytest.fixture
def make():
    def make(name, **arguments):
        keras.utils.set_random_seed(0)
        return RIVALS[name]((16, 16, 1), base_width=2, latent_dim=3, **arguments)

    return make


def test_vae(make, x):
    model = make("vae")
    terms, mean, reconstruction = model.score_terms(x)
    mu, log_variance = (np.asarray(part, "float64") for part in model.encoder(x, training=False))
    np.testing.assert_allclose(mean, mu, rtol=1e-6)
    divergence = [
        sum(0.5 * (m * m + np.exp(v) - v - 1) for m, v in zip(*row, strict=True))
        for row in zip(mu, log_variance, strict=True)
    ]
    np.testing.assert_allclose(terms["divergence"], divergence, rtol=1e-4)
    squares = [((a - b) ** 2).sum() for a, b in zip(x, np.asarray(reconstruction), strict=True)]
    np.testing.assert_allclose(
        terms["reconstruction"], np.array(squares) / (2 * vae.VARIANCE), rtol=1e-4
    )
    # The loss draws z; without a deviation it is the mean's own.
    head = model.encoder.get_layer("log_variance")
    head.set_weights([np.zeros(head.kernel.shape), np.full(3, -60.0)])
    mu, _ = model.encoder(x, training=True)
    again = np.asarray(model.decoder(mu, training=True))
    expected = np.square(x - again).sum(axis=(1, 2, 3)) / (2 * vae.VARIANCE)
    expected += 0.5 * (np.square(mu) + 60 - 1).sum(axis=1)
    np.testing.assert_allclose(model.training_loss(x), expected.mean(), rtol=1e-4)


def test_ganomaly(make, x):
    model = make("ganomaly")
    loss = model.generator_loss(x)
    z = np.asarray(model.encoder1(x, training=True))
    again = np.asarray(model.decoder(z, training=True))
    z_hat = np.asarray(model.encoder2(again, training=True))
    features, logits = zip(
        *(model.discriminator(a, training=True) for a in (x, again)), strict=True
    )
    expected = np.square(np.subtract(*features)).mean() + 50 * np.abs(x - again).mean()
    expected += np.square(z - z_hat).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    real, other = (1 / (1 + np.exp(-np.asarray(logit, "float64"))) for logit in logits)
    entropy = -0.5 * (np.log(real).mean() + np.log(1 - other).mean())
    np.testing.assert_allclose(model.discriminator_loss(x), entropy, rtol=1e-4)
    terms, z, fake = model.score_terms(x)
    z_hat = np.asarray(model.encoder2(fake, training=False))
    np.testing.assert_allclose(terms["z_z1"], np.square(z - z_hat).mean(axis=1), rtol=1e-4)


def test_each_step_of_ganomaly_moves_its_own_networks(make, x):
    model = make("ganomaly")
    model.compile()
    generator = [w for network in model.trained_networks for w in network.get_weights()]
    before = model.discriminator.get_weights()
    model.train_step(x * 127.5 + 127.5)
    after = [w for network in model.trained_networks for w in network.get_weights()]
    assert not all(map(np.array_equal, generator, after))
    assert not all(map(np.array_equal, before, model.discriminator.get_weights()))


def test_deep_svdd(make, x):
    model = make("deep_svdd")
    z = model.encoder(x, training=True)
    residual = np.square(x - np.asarray(model.decoder(z, training=True))).mean()
    np.testing.assert_allclose(model.training_loss(x), residual, rtol=1e-5)
    model.to_center.set(np.array([0.5, 0.01, -0.02]))
    center = np.array([0.5, 0.1, -0.1])  # no entry is too near to 0
    np.testing.assert_allclose(model.to_center.center, center, rtol=1e-6)
    expected = np.square(model.encoder(x, training=True) - center).sum(axis=1)
    np.testing.assert_allclose(model.training_loss(x), expected.mean(), rtol=1e-5)
    terms, z, _ = model.score_terms(x)
    np.testing.assert_allclose(terms["distance"], np.square(z - center).sum(axis=1), rtol=1e-5)


def test_deep_svdd_cannot_collapse_by_a_constant(make, x):
    """No weight adds a constant, so an image of 0 is mapped to 0, which is no center."""
    model = make("deep_svdd")
    names = [weight.path.split("/")[-1] for weight in model.encoder.trainable_variables]
    assert set(names) == {"kernel"}
    np.testing.assert_array_equal(model.encoder(np.zeros_like(x[:1])), np.zeros((1, 3)))
    assert deep_svdd.LEAST_CENTER > 0


def test_the_center_is_the_mean_over_the_images(make):
    images = np.random.default_rng(1).integers(0, 256, (20, 16, 16, 1), dtype=np.uint8)
    model = make("deep_svdd")
    model.set_center(images)
    mean = np.asarray(model.encoder(images / np.float32(127.5) - 1)).mean(axis=0)
    expected = np.where(mean < 0, -1, 1) * np.maximum(np.abs(mean), 0.1)
    np.testing.assert_allclose(model.to_center.center, expected, rtol=1e-4)


@pytest.fixture(scope="module")
def rows():
    """Smooth rows in [0, 1]: to learn from, and to score."""
    rng = np.random.default_rng(0)
    basis = np.sin(np.arange(256)[None] / 256 * rng.uniform(1, 20, (6, 1)))
    values = rng.normal(0, 1, (80, 6)) @ basis + 0.3 * rng.normal(size=(80, 256))
    values = (values - values.min()) / np.ptp(values)
    return values[:60].astype("float32"), values[60:].astype("float32")


def fit(name, rows):
    model = RIVALS[name]((16, 16, 1), memory_size=64)
    model.learn(rows[0])
    score, again = model.fitted(rows[1])
    assert again.shape == rows[1].shape
    return np.asarray(score), np.asarray(again)


def test_nearest_neighbour(rows):
    distances, places = NearestNeighbors(n_neighbors=1).fit(rows[0]).kneighbors(rows[1])
    score, again = fit("nearest_neighbour", rows)
    np.testing.assert_allclose(score, distances[:, 0], rtol=1e-4)
    np.testing.assert_array_equal(again, rows[0][places[:, 0]])


def test_pca(rows):
    found = PCA(0.8, svd_solver="full").fit(rows[0])
    expected = found.inverse_transform(found.transform(rows[1]))
    score, again = fit("pca", rows)
    np.testing.assert_allclose(again, expected, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(score, np.square(rows[1] - expected).mean(axis=1), rtol=1e-2)


def test_kernel_density(rows):
    """Up to the constant of the kernels."""
    bandwidth = kernel_density.BANDWIDTH * np.sqrt(rows[0].var(axis=0).sum())
    expected = -KernelDensity(bandwidth=bandwidth).fit(rows[0]).score_samples(rows[1])
    score, again = fit("kernel_density", rows)
    np.testing.assert_allclose(score - score.mean(), expected - expected.mean(), atol=1e-2)
    squares = np.square(rows[1][:, None] - rows[0][None]).sum(axis=-1)
    weights = np.exp(-(squares - squares.min(axis=1, keepdims=True)) / (2 * bandwidth**2))
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(again, weights @ rows[0], atol=1e-3)


def test_one_class_svm(rows):
    gamma = one_class_svm.GAMMA / (rows[0].shape[1] * rows[0].var())
    machine = OneClassSVM(nu=one_class_svm.NU, gamma=gamma).fit(rows[0])
    score, _ = fit("one_class_svm", rows)
    np.testing.assert_allclose(score, -machine.decision_function(rows[1]), atol=1e-3)


def test_isolation_forest(rows):
    forest = IsolationForest(n_estimators=100, max_samples=60, random_state=0).fit(rows[0])
    score, again = fit("isolation_forest", rows)
    np.testing.assert_allclose(score, -forest.score_samples(rows[1]), rtol=1e-4)
    np.testing.assert_allclose(again[0], np.median(rows[0], axis=0), rtol=1e-6)


def test_more_images_than_the_memory_takes():
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 1), dtype=np.uint8)
    model = RIVALS["nearest_neighbour"]((16, 16, 1), memory_size=20)
    model.fit(images)
    assert len({row.tobytes() for row in np.asarray(model.fitted.memory)}) == 20
    model.fit(tf.data.Dataset.from_tensor_slices(images[:12]).batch(5))
    assert len({row.tobytes() for row in np.asarray(model.fitted.memory)}) == 12
