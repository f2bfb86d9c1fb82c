"""f-AnoGAN: its losses and score against hand arithmetic, and what each phase trains."""

import keras
import numpy as np
import pytest

from ede_keras.rivals import anogan


@pytest.fixture
def model():
    return anogan.AnoGAN((16, 16, 1), base_width=2, latent_dim=3)


def weights_of(model):
    networks = {"E": model.encoder, "G": model.generator, "D": model.critic}
    return {name: network.get_weights() for name, network in networks.items()}


def moved(before, after):
    return {name for name in before if not all(map(np.array_equal, before[name], after[name]))}


def mean_squares(a, b):
    difference = np.asarray(a, "float64") - np.asarray(b, "float64")
    return np.square(difference).reshape(len(difference), -1).mean(axis=1)


def test_encoder_loss_and_score(model, x):
    for training in (True, False):
        _, z = model.encoder(x, training=training)
        again = model.generator(z, training=False)
        residual = mean_squares(x, again)
        features = mean_squares(*(model.critic(a, training=False)[0] for a in (x, again)))
        if training:
            expected = (residual + features).mean()
            np.testing.assert_allclose(model.encoder_loss(x), expected, rtol=1e-5)
        else:
            terms, latents, reconstruction = model.score_terms(x)
            np.testing.assert_allclose(terms["residual"], residual, rtol=1e-5)
            np.testing.assert_allclose(terms["features"], features, rtol=1e-5)
            np.testing.assert_array_equal(latents, z)
            np.testing.assert_array_equal(reconstruction, again)
    assert model.score_weights == {"residual": 1, "features": 1}


def test_losses_of_the_gan(model, x):
    """With a critic that is linear, and a generator of grey images."""
    rng = np.random.default_rng(1)
    w, bias = rng.normal(0, 0.1, (256, 1)), 0.7
    images = keras.Input((16, 16, 1))
    rows = keras.layers.Flatten()(images)
    model.critic = keras.Model(images, [rows, keras.layers.Dense(1)(rows)])
    model.critic.set_weights([w, np.array([bias])])
    model.generator.set_weights([0 * weight for weight in model.generator.get_weights()])
    np.testing.assert_allclose(model.generator_loss(x), -bias, rtol=1e-5)
    norm = np.sqrt(np.square(w).sum())
    real = (x.reshape(5, -1).astype("float64") @ w).mean() + bias
    expected = bias - real + 10 * (norm - 1) ** 2
    np.testing.assert_allclose(model.critic_loss(x), expected, rtol=1e-4)


def test_the_gradient_of_one_image_is_not_that_of_others(model, x):
    """As the penalty of a Wasserstein critic needs it, also in training."""
    _, together = model.critic(x, training=True)
    _, alone = model.critic(x[:1], training=True)
    np.testing.assert_allclose(alone, together[:1], rtol=1e-4, atol=1e-6)


def test_each_turn_moves_its_own_networks(model, x):
    model.compile()
    losses = {turn.networks[0].name: turn for turn in model.turns}
    assert list(losses) == ["encoder", "generator", "critic"]
    images = x * 127.5 + 127.5
    before = weights_of(model)
    model.train_step(images)
    middle = weights_of(model)
    assert moved(before, middle) == {"E", "G", "D"}
    model.gan_is_fixed.assign(1)
    for _ in range(2):
        model.train_step(images)
    assert moved(middle, weights_of(model)) == {"E"}
    optimizers = (model.optimizer, *model.other_optimizers)
    assert [int(optimizer.iterations.numpy()) for optimizer in optimizers] == [3, 3, 3]


def test_the_gan_is_fixed_after_its_share_of_the_epochs(model, x):
    fixed, kept = [], []

    def note(epoch, logs):
        fixed.append(float(model.gan_is_fixed.numpy()))
        kept.append(weights_of(model))

    model.fit(
        x * 127.5 + 127.5,
        epochs=5,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=note)],
    )
    assert fixed == [0, 0, 0, 1, 1]
    assert moved(kept[1], kept[2]) == {"E", "G", "D"}
    assert moved(kept[2], kept[4]) == {"E"}
