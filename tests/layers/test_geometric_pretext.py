"""The views, what the head learns of them, and what they add to a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ede_keras.errors import InputError
from ede_keras.layers import anomaly_score
from ede_keras.layers.geometric_pretext import GeometricPretext
from ede_keras.layers.transformations import TRANSFORMATIONS
from ede_keras.models import losses
from ede_keras.models.variants import VARIANTS


def make_views(name="rotations", size=8):
    views = GeometricPretext(name, (size, size, 3), memory_size=10)
    views.build((None, 4), (None, 2, 2, 3))
    return views


@pytest.fixture
def pictures():
    return np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 3)).astype("float32")


def test_rotations_are_numpys(pictures):
    every = np.asarray(make_views().score_views(pictures)).reshape(5, 4, 8, 8, 3)
    for turns in range(4):
        np.testing.assert_array_equal(every[:, turns], np.rot90(pictures, turns, axes=(1, 2)))


def test_shifts_move_what_is_seen(pictures):
    every = np.asarray(make_views("rotations_and_shifts").score_views(pictures))
    every = every.reshape(5, 16, 8, 8, 3)
    np.testing.assert_array_equal(every[:, 0], pictures)
    # A quarter of 8 pixels: to the right, to the left, down; the edge is mirrored.
    np.testing.assert_array_equal(every[:, 4, :, 2:], pictures[:, :, :-2])
    np.testing.assert_array_equal(every[:, 4, :, :2], pictures[:, :, 1::-1])
    np.testing.assert_array_equal(every[:, 8, :, :-2], pictures[:, :, 2:])
    np.testing.assert_array_equal(every[:, 12, :-2], pictures[:, 2:])
    np.testing.assert_array_equal(every[:, 6], np.rot90(every[:, 4], 2, axes=(1, 2)))


def test_colours_are_exchanged_and_made_equal(pictures):
    every = np.asarray(make_views("rotations_shifts_and_colours").score_views(pictures))
    every = every.reshape(5, 24, 8, 8, 3)
    geometric = np.asarray(make_views("rotations_and_shifts").score_views(pictures))
    np.testing.assert_array_equal(every[:, :16], geometric.reshape(5, 16, 8, 8, 3))
    red, green, blue = np.moveaxis(pictures, -1, 0)
    np.testing.assert_array_equal(every[:, 16], np.stack([green, blue, red], axis=-1))
    np.testing.assert_array_equal(every[:, 20], np.stack([green] * 3, axis=-1))
    np.testing.assert_array_equal(every[:, 23], np.rot90(every[:, 20], 3, axes=(1, 2)))


def test_grey_images_have_no_colours_to_exchange(build):
    with pytest.raises(InputError, match="needs images of 3 channels. Received: 1"):
        build(pretext="rotations_shifts_and_colours")


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_a_chosen_view_is_one_of_all(pictures, name):
    views = make_views(name)
    every = np.asarray(views.score_views(pictures)).reshape(5, views.n_views, 8, 8, 3)
    which = np.array([0, 3, 1, 2, 3], "int32")
    np.testing.assert_array_equal(views.make_views(pictures, which), every[np.arange(5), which])


def test_every_view_is_another(pictures):
    every = np.asarray(make_views("rotations_shifts_and_colours").score_views(pictures[:1]))
    assert len(np.unique(every.reshape(24, -1), axis=0)) == 24


def test_the_head_gives_log_likelihoods(pictures):
    log_p = np.asarray(make_views().log_probabilities(pictures[:, :2, :2]))
    assert log_p.shape == (5, 4)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1, rtol=1e-5)


def test_wrong_transformations_are_refused(build):
    with pytest.raises(InputError, match="none, rotations, rotations_and_shifts"):
        build(pretext="somersaults")


@pytest.mark.parametrize("n_seen", [1, 3])
def test_the_loss_is_the_smoothed_cross_entropy_of_the_assigned_views(build, images, n_seen):
    """Epoch 1: image i is seen in view (i + 1) mod K and those that follow; the EDEs restore it
    from the first; the cross-entropy is added to rec_1."""
    model = build(
        pretext="rotations", pretext_weight=3.0, pretext_views=n_seen, fixed_latent_target=True
    )
    x = model.preprocessor(images)
    which = [(i + 1 + j) % 4 for j in range(n_seen) for i in range(len(images))]
    turned = np.stack([np.rot90(x[i % len(images)], turns) for i, turns in enumerate(which)])
    z = model.encoder1(turned[: len(images)], training=False)
    features = keras.Model(
        model.encoder1.inputs, model.encoder1.get_layer("features").output
    ).predict(turned, verbose=0)
    kernel, bias = (weight.numpy() for weight in model.pretext.head.weights)
    logits = features.reshape(len(features), -1) @ kernel + bias
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    own = np.mean([row[turns] for row, turns in zip(log_p, which, strict=True)])
    entropy = -(0.9 * own + 0.1 * log_p.mean())
    x1 = model.decoder1(z, training=False)
    # The image as it is, not its view, is to be restored.
    rec_1 = losses.reconstruction_loss(x, x1, z, model.encoder2(x1, training=False), 50.0, 1.0)
    found = model.objectives(x, training=False).reconstructions
    np.testing.assert_allclose(found[0], float(rec_1) + 3.0 * entropy, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_counts_the_pretext(build, images, variant):
    model = build(VARIANTS[variant], pretext="rotations", pretext_weight=3.0)
    x = model.preprocessor(images)
    with_head = float(model.objectives(x, training=False).reconstructions[0])
    _, loss_of_head = model.encode_views(x, training=False)
    other = build(VARIANTS[variant], pretext="rotations", pretext_weight=0.0)
    other.set_weights(model.get_weights())
    without = float(other.objectives(x, training=False).reconstructions[0])
    assert with_head == pytest.approx(without + float(loss_of_head), rel=1e-4)
    terms = model.compute_terms(images[:2])
    assert list(terms)[-3:] == ["pretext", "latent_distance", "feature_distance"]
    assert len(terms) == len(model.score_weights)


def test_the_head_learns_to_name_views(build, images):
    corners = images.copy()
    corners[:, :4, :4] = 255  # upright is where the bright corner is above left
    model = build(
        pretext="rotations",
        memory_size=20,
        compile_arguments={"optimizer": keras.optimizers.Adam(1e-2)},
    )
    assert len(model.pretext.trainable_variables) == 2  # the head's; the memory is none of them
    before = model.compute_terms(corners)["pretext"].mean()
    model.fit(corners, batch_size=10, epochs=4, verbose=0)
    assert model.compute_terms(corners)["pretext"].mean() < before * 0.8
    model.calibrate(corners[:50], held_out=corners[50:])
    scores, labels = model.combine_terms(model.compute_terms(images))
    found = model.predict(images, verbose=0)
    np.testing.assert_allclose(scores, found["score"], rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(labels, found["label"])


def test_the_score_by_hand(build, images):
    """Mean and deviation of held-out terms, the pretext's counted by the head's skill."""
    model = build(pretext="rotations", memory_size=10, omega1=0.3)
    held_out = model.calibrate(images[:40], held_out=images[40:])
    skill = max(0, 1 - held_out["pretext"].mean() / np.log(4))
    weights = {"z_z2": 0.25 * 0.3, "z_z2p": 0.25 * 0.7}
    weights["pretext"] = 3 * max(min(2 * skill, 1), anomaly_score.LEAST_RELIABILITY)
    expected = 0
    for name, terms in model.compute_terms(images).items():
        expected += weights.get(name, 1) * (terms - held_out[name].mean()) / held_out[name].std()
    found = model.predict(images, verbose=0)
    np.testing.assert_allclose(found["score"], expected, rtol=1e-3, atol=1e-2)
    assert (found["label"] == (found["score"] > model.threshold)).all()


def test_a_pretext_that_says_nothing_does_not_count(build):
    """Flat images look the same from everywhere: the head cannot name their views."""
    flat = np.full((60, 8, 8, 1), 100, np.uint8)
    flat += np.random.default_rng(0).integers(0, 9, (60, 1, 1, 1), dtype=np.uint8)
    model = build(pretext="rotations", memory_size=10)
    model.fit(flat, batch_size=20, epochs=3, verbose=0)
    reliability = model.pretext.reliability(model.compute_terms(flat))
    assert list(reliability) == ["pretext"] and reliability["pretext"] < 0.05
    with pytest.warns(UserWarning, match=r"'pretext' counts [0-4]% of its weight.*round parts"):
        model.calibrate(flat[:40], held_out=flat[40:])


def test_saved_with_memory_and_scale(build, images, tmp_path):
    model = build(pretext="rotations", memory_size=30)
    model.calibrate(images[:50], held_out=images[50:])
    scores = model.predict(images, verbose=0)["score"]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0)["score"], scores)
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    served = exported.serve(images.astype("float32"))
    np.testing.assert_allclose(served["score"], scores, rtol=1e-3, atol=1e-3)


def test_set_aside_images_are_not_remembered(build, images):
    """Without `held_out` a fifth sets the scale: its distances would be 0 if it were known."""
    model = build(pretext="rotations", memory_size=100)
    noise = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), dtype=np.uint8)
    terms = model.calibrate(noise)
    assert len(terms["latent_distance"]) == 6 and (terms["latent_distance"] > 0.1).all()
    with pytest.raises(InputError, match="at least 2 normal images"):
        model.calibrate(images[:1], held_out=images[1:])
