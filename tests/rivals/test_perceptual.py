"""ADDPA and PIAD: the loss on a frozen network's features, and what each update moves."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from makers import make_backbone

import ede_keras
from ede_keras.backbones import sources
from ede_keras.backbones.backbone import Backbone, choose_maps
from ede_keras.errors import InputError
from ede_keras.rivals import RIVALS, perceptual, piad

NAMES = ["addpa", "piad"]


@pytest.fixture
def backbone():
    return Backbone(choose_maps(make_backbone()), mean=127.0, scale=128.0)


@pytest.fixture
def make(backbone):
    def make(name, shape=(16, 16, 1), **arguments):
        keras.utils.set_random_seed(0)
        given = {"base_width": 2, "latent_dim": 3, "backbone": backbone}
        return RIVALS[name](shape, **{**given, **arguments})

    return make


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 16, 16, 1), dtype=np.uint8)


@pytest.fixture
def x(images):
    return (images / 127.5 - 1).astype("float32")


def maps_by_hand(backbone, x):
    """The finest map, from the kernel of the network's first layer; strides are its size."""
    pixels = np.asarray(tf.image.resize((x + 1) * 127.5, (64, 64)), "float64")
    pixels = (np.repeat(pixels, 4 - pixels.shape[-1], axis=-1)[..., :3] - 127) / 128
    kernel = backbone.network.get_weights()[0]  # its bias is 0
    cells = pixels.reshape(len(x), 4, 16, 4, 16, 3)
    return np.maximum(np.einsum("nhiwjc,ijco->nhwo", cells, kernel), 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(16, 16, 1), (32, 32, 3)])
def test_the_relative_perceptual_loss(make, backbone, name, shape):
    model = make(name, shape)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (6, *shape), dtype=np.uint8)
    model.set_statistics(images)
    x = (images / 127.5 - 1).astype("float32")
    maps = maps_by_hand(backbone, x)
    mean, deviation = maps.mean(axis=(0, 1, 2)), maps.std(axis=(0, 1, 2))
    deviation = np.maximum(deviation, perceptual.LEAST_SHARE * deviation.mean())
    terms, z, again = model.score_terms(x)
    other = maps_by_hand(backbone, np.asarray(again))
    f, g = ((m - mean) / deviation for m in (maps, other))
    expected = [np.abs(a - b).sum() / np.abs(a).sum() for a, b in zip(f, g, strict=True)]
    np.testing.assert_allclose(terms["perceptual"], expected, rtol=1e-3)
    np.testing.assert_allclose(model.perceptual_loss(x, x), 0, atol=1e-6)
    assert z.shape == (6, 3) and again.shape == x.shape
    if name == "addpa":
        again = model.decoder(model.encoder(x, training=True), training=True)
        loss = np.mean(model.perceptual_loss(x, again))
        np.testing.assert_allclose(model.training_loss(x), loss, rtol=1e-4)


def test_wasserstein_losses_of_a_linear_critic(make):
    """C(z) = a z has the slope a everywhere."""
    model = make("piad")
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 7, 3)).astype("float32")
    slope = np.array([[0.5], [-2.0], [1.0]])
    inputs = keras.Input((3,))
    critic = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))
    critic.set_weights([slope])
    on_real, on_fake = real @ slope, fake @ slope
    expected = on_fake.mean() - on_real.mean()
    expected += 10 * (np.sqrt((slope**2).sum()) - 1) ** 2
    expected += 1e-3 * ((on_real**2).mean() + (on_fake**2).mean())
    found = model.wasserstein_loss(critic, real, fake)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_both_losses_move_both_networks_of_piad_equally(make, x):
    model = make("piad")
    model.measure_balance(x, True)
    of_encoder, of_decoder = model.balance.weight.numpy()
    assert of_encoder > 0 and of_decoder > 0 and of_encoder != of_decoder
    weights = model.decoder.get_weights()  # with the statistics of its batch normalization
    model.noise = keras.random.SeedGenerator(7)
    with tf.GradientTape(persistent=True) as tape:
        on_latents, on_images, loss = model.losses(x)
    model.decoder.set_weights(weights)
    model.noise = keras.random.SeedGenerator(7)
    with tf.GradientTape() as whole:
        total = model.generator_loss(x)
    encoder, decoder = (n.trainable_variables for n in (model.encoder, model.decoder))
    found = whole.gradient(total, encoder + decoder)
    for variables, adversarial, weight in (
        (encoder, on_latents, of_encoder),
        (decoder, on_images, of_decoder),
    ):
        ratios = []
        for variable in variables:
            a, b = (np.asarray(tape.gradient(part, variable)) for part in (adversarial, loss))
            np.testing.assert_allclose(found.pop(0), a + weight * b, rtol=1e-2, atol=1e-4)
            if variable.path.endswith("kernel"):
                ratios.append(np.linalg.norm(a) / np.linalg.norm(b))
        # Other noise was drawn for the measurement.
        assert 0.2 < np.median(ratios) / weight < 5
    before = model.balance.weight.numpy()
    model.measure_balance(x, False)
    moved = np.abs(model.balance.weight.numpy() - before) / before
    assert (moved < 0.5).all()


def test_each_turn_of_piad_moves_its_own_networks(make, x):
    model = make("piad")
    names = ("encoder", "decoder", "image_critic", "latent_critic")
    for number, own in enumerate((names[:2], names[2:])):
        turn = model.turns[number]
        assert turn.networks == [getattr(model, name) for name in own]
        assert turn.updates == (1, 2)[number]
    # The critics' loss has no gradient in the others.
    with tf.GradientTape() as tape:
        loss = model.critic_loss(x)
    others = model.encoder.trainable_variables + model.decoder.trainable_variables
    assert tape.gradient(loss, others) == [None] * len(others)
    model.compile()
    before = {name: getattr(model, name).get_weights() for name in names}
    frozen = model.backbone.get_weights()
    model.train_step(x * 127.5 + 127.5)
    for name in names:
        assert not all(map(np.array_equal, before[name], getattr(model, name).get_weights()))
    assert all(map(np.array_equal, frozen, model.backbone.get_weights()))
    assert int(model.other_optimizers[0].iterations.numpy()) == piad.CRITIC_STEPS


@pytest.mark.filterwarnings("ignore:The images' highest pixel")
@pytest.mark.parametrize("name", NAMES)
def test_two_black_images(make, name):
    images = np.zeros((2, 16, 16, 1), "uint8")
    model = make(name)
    history = model.fit(images, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    model.set_threshold(0)
    assert np.isfinite(model.predict(images, verbose=0)["score"]).all()


def test_statistics_are_set_once_by_images_of_training(make, images):
    model = make("addpa")
    model.fit(images, verbose=0)
    mean = model.normalized.mean.numpy()
    assert np.any(mean != 0)
    model.set_threshold(0)
    model.predict(images[:1], verbose=0)
    model.fit(images[:3], verbose=0)
    np.testing.assert_array_equal(model.normalized.mean.numpy(), mean)


def test_a_run_goes_on_with_its_backbone(backbone, images, tmp_path):
    """The backbone is in the checkpoint; the noted arguments name it."""
    arguments = {"base_width": 2, "min_steps": 2, "checkpoint_dir": tmp_path, "verbose": 0}
    for epochs in (1, 2):
        model, _ = ede_keras.fit_rival(
            "addpa", images, epochs=epochs, backbone=backbone, **arguments
        )
    assert int(model.optimizer.iterations.numpy()) == 4
    noted = json.loads((tmp_path / "arguments.json").read_text())
    assert noted["backbone"] == {"source": "own", "sha256": None}


def test_the_default_backbone_is_saved(monkeypatch, images, tmp_path):
    """Only its part up to stride 16; the file is not needed again."""
    model = RIVALS["addpa"]((16, 16, 1), base_width=2)
    assert model.backbone.source == sources.LITE0
    assert model.backbone.sha256 == sources.hash_file(sources._find_lite0())
    assert model.backbone.network.count_params() == 716_928
    model.set_statistics(images)
    expected = model.perceptual_loss(images[:2] / 127.5 - 1, images[2:4] / 127.5 - 1)
    model.save(tmp_path / "model.keras")
    monkeypatch.setattr(sources, "_find_package", lambda: None)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    found = loaded.perceptual_loss(images[:2] / 127.5 - 1, images[2:4] / 127.5 - 1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert loaded.backbone.identity == model.backbone.identity
    with pytest.raises(InputError, match=r"pip install 'ede-keras\[backbone\]'"):
        RIVALS["addpa"]((16, 16, 1))
