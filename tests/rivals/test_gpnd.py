"""GPND: its losses, the volume and the densities against hand arithmetic."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import gennorm

from ede_keras.errors import InputError
from ede_keras.rivals import gpnd, manifold
from ede_keras.serving.savedmodel import export_savedmodel


@pytest.fixture
def model():
    return gpnd.GPND((16, 16, 1), base_width=2, latent_dim=3)


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, "float64")))


def draw_again(model, n=5):
    """What the model drew since its seed was set."""
    return keras.random.normal((n, model.latent_dim), seed=keras.random.SeedGenerator(0))


def test_autoencoder_loss(model, x):
    loss = model.autoencoder_loss(x)
    _, z = model.encoder(x, training=True)
    p = (np.asarray(model.decoder(z, training=True), "float64") + 1) / 2
    y = (x.astype("float64") + 1) / 2
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    of_z = sigmoid(model.latent_discriminator(z, training=True))
    drawn = model.decoder(draw_again(model), training=True)
    of_drawn = sigmoid(model.image_discriminator(drawn, training=True)[1])
    expected = 20 * entropy - 2 * np.log(of_z).mean() - np.log(of_drawn).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_discriminator_loss(model, x):
    loss = model.discriminator_loss(x)
    drawn = draw_again(model)
    fake = model.decoder(drawn, training=True)
    real, other = (sigmoid(model.image_discriminator(a, training=True)[1]) for a in (x, fake))
    _, z = model.encoder(x, training=True)
    normal, coded = (sigmoid(model.latent_discriminator(a, training=True)) for a in (drawn, z))
    parts = (np.log(real), np.log(1 - other), np.log(normal), np.log(1 - coded))
    np.testing.assert_allclose(loss, -sum(part.mean() for part in parts), rtol=1e-4)


def test_each_turn_moves_its_own_networks(model, x):
    model.compile()
    names = ("encoder", "decoder", "image_discriminator", "latent_discriminator")
    for turn, own in zip(model.turns, (names[:2], names[2:]), strict=True):
        assert turn.networks == [getattr(model, name) for name in own]
    before = {name: [np.array(w) for w in getattr(model, name).trainable_weights] for name in names}
    model.train_step(x * 127.5 + 127.5)
    for name in names:
        after = getattr(model, name).trainable_weights
        assert not all(map(np.array_equal, before[name], after))
    with tf.GradientTape() as tape:
        loss = model.discriminator_loss(x)
    others = [*model.encoder.trainable_weights, *model.decoder.trainable_weights]
    assert tape.gradient(loss, [w.value for w in others]) == [None] * len(others)


def test_the_volume_of_a_linear_decoder():
    """J is the matrix itself, so the singular values are known."""
    matrix = np.random.default_rng(0).normal(size=(3, 12)).astype("float32")
    latents = keras.Input((3,))
    outputs = keras.layers.Reshape((2, 2, 3))(keras.layers.Dense(12, use_bias=False)(latents))
    decoder = keras.Model(latents, outputs)
    decoder.set_weights([matrix])
    z = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    expected = np.log(np.linalg.svd(matrix.astype("float64"), compute_uv=False)).sum()
    np.testing.assert_allclose(manifold.LogVolume(decoder)(z), 4 * [expected], atol=1e-3)


def test_the_volume_of_a_convolutional_decoder(model):
    """Against the Jacobian of automatic differentiation, for each of several images."""
    rng = np.random.default_rng(2)
    # Wide weights: those of a new decoder make it so flat that the ridge would be seen.
    model.decoder.set_weights(
        [w + rng.normal(0, 0.3, w.shape) * (w.ndim == 4) for w in model.decoder.get_weights()]
    )
    z = tf.constant(rng.normal(size=(4, 3)), "float32")
    found = model.log_volume(z)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        images = tf.reshape(model.decoder(z, training=False), (4, -1))
    jacobian = tape.batch_jacobian(images, z, experimental_use_pfor=False).numpy()
    expected = [
        np.log(np.linalg.svd(j.astype("float64"), compute_uv=False)).sum() for j in jacobian
    ]
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert np.ptp(expected) > 0.1


def test_a_flat_decoder_has_a_finite_volume(model):
    model.decoder.set_weights([0 * w for w in model.decoder.get_weights()])
    expected = 3 * np.log(np.sqrt(manifold.RIDGE))
    np.testing.assert_allclose(model.log_volume(np.ones((2, 3), "float32")), expected, rtol=1e-4)


def test_densities():
    rng = np.random.default_rng(0)
    z = np.stack([rng.laplace(1, 2, 20_000), rng.normal(-1, 0.5, 20_000)], axis=1)
    norms = rng.gamma(9, 1, 20_000)
    layer = manifold.Densities(2, 7)
    layer.set(z, norms)
    np.testing.assert_allclose(layer.shape, [1, 2], rtol=0.05)
    np.testing.assert_allclose(layer.scale, [2, 0.5 * np.sqrt(2)], rtol=0.05)
    points, r = np.array([[0.3, -1.2], [4, 0]]), np.array([5.0, 12.0])
    latent, residual = layer([points.astype("float32"), r.astype("float32")])
    parameters = (np.asarray(a) for a in (layer.shape, layer.center, layer.scale))
    expected = -gennorm.logpdf(points, *parameters).sum(axis=1)
    np.testing.assert_allclose(latent, expected, rtol=1e-4)
    counts, edges = np.histogram(norms, 30)
    density = counts[np.digitize(r, edges) - 1] / 20_000 / np.diff(edges)[0]
    np.testing.assert_allclose(residual, 6 * np.log(r) - np.log(density), rtol=1e-4)
    # Outside of the histogram as if there had been one image.
    far = np.array([1e-9, norms.max() + 5, 1e9], "float32")
    _, residual = layer([np.zeros((3, 2), "float32"), far])
    floor = np.log(1 / 20_000 / np.diff(edges)[0])
    np.testing.assert_allclose(
        residual, 6 * np.log(np.maximum(far, 1e-6).astype("float64")) - floor, rtol=1e-4
    )
    latent, _ = layer([np.full((1, 2), 1e6, "float32"), far[:1]])
    assert latent[0] == 1000


def test_score_terms(model, x):
    images = np.random.default_rng(1).integers(0, 256, (40, 16, 16, 1), np.uint8)
    model.set_densities(images)
    _, z = model.encoder(images / np.float32(127.5) - 1, training=False)
    np.testing.assert_allclose(model.densities.center, np.mean(z, axis=0), rtol=1e-3, atol=1e-5)
    terms, z, again = model.score_terms(x)
    assert sorted(terms) == sorted(model.score_weights)
    assert set(model.score_weights.values()) == {1}
    r = np.sqrt(np.square(x - np.asarray(again, "float64")).sum(axis=(1, 2, 3)))
    latent, residual = model.densities([z, r.astype("float32")])
    np.testing.assert_allclose(terms["latent"], latent, rtol=1e-4)
    np.testing.assert_allclose(terms["residual"], residual, rtol=1e-4)
    np.testing.assert_allclose(terms["volume"], model.log_volume(z), rtol=1e-4)
    assert model.densities.across == 16 * 16 - 3


def test_densities_are_there_after_each_epoch(model):
    """So a model that is saved, or stopped, between two of them can be used."""
    images = np.random.default_rng(1).integers(0, 256, (8, 16, 16, 1), np.uint8)
    widths = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: widths.append(float(model.densities.bin_width.numpy()))
    )
    model.fit(images, epochs=2, verbose=0, callbacks=[note])
    assert len(set(widths)) == 2 and 1 not in widths


def test_other_formats_are_refused_before_anything_is_written(model, tmp_path):
    model.set_threshold(0.0)
    with pytest.raises(InputError, match="operations that ONNX and LiteRT lack"):
        export_savedmodel(model, tmp_path / "exported", formats=["onnx"])
    assert not list(tmp_path.rglob("*.pb"))
