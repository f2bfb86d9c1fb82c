"""What one does with a trained model: calibration, threshold, images that it refuses."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from ede_keras.errors import InputError
from ede_keras.models.variants import VARIANTS


def test_calibration_sets_the_quantile_of_held_out_normals(build, images):
    for contamination in (0, 0.1):
        model = build(contamination=contamination)
        terms = model.calibrate(images[:50], held_out=images[50:])
        scores = model.predict(images[50:], verbose=0)["score"]
        assert list(terms) == ["z_z2", "z_z2p"]
        np.testing.assert_allclose(model.combine_terms(terms)[0], scores, rtol=1e-5)
        assert model.threshold == pytest.approx(np.sort(scores)[::-1][int(contamination * 20)])


def test_calibration_sets_the_threshold_of_the_map(build, images, tmp_path):
    model = build(contamination=0.1)
    assert model.pixel_threshold == np.inf
    model.calibrate(images[:50], held_out=images[50:])
    highest = model.predict(images[50:], verbose=0)["anomaly_map"].max((1, 2))
    assert (highest > model.pixel_threshold + 1e-6).sum() == 2
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.pixel_threshold == model.pixel_threshold
    with pytest.raises(AttributeError, match="call `calibrate`"):
        model.pixel_threshold = 3.0


def test_calibration_sets_a_fifth_aside_and_may_be_repeated(build, images):
    model = build()
    first = model.calibrate(images)
    threshold = model.threshold
    again = model.calibrate(images)
    assert len(first["z_z2"]) == 14 and model.threshold == threshold
    np.testing.assert_array_equal(first["z_z2"], again["z_z2"])


def test_a_threshold_set_by_hand(build, images):
    model = build()
    model.calibrate(images)
    scores = model.predict(images, verbose=0)["score"]
    model.set_threshold(float(np.median(scores)))
    assert model.predict(images, verbose=0)["label"].sum() == (scores > np.median(scores)).sum()


def test_without_a_threshold_predict_warns_once(build, images):
    model = build()
    assert model.threshold == np.inf
    with pytest.warns(UserWarning, match="no threshold yet.*calibrate"):
        assert not model.predict(images, verbose=0)["label"].any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(images, verbose=0)


def test_redecide_changes_the_decision_alone(build, images, tmp_path):
    model = build(omega1=0.5)
    terms = model.calibrate(images)
    other = model.redecide(terms, omega1=0.9, contamination=0.5)
    scores = 0.9 * terms["z_z2"] + 0.1 * terms["z_z2p"]
    assert other.threshold == pytest.approx(np.sort(scores)[::-1][7], rel=1e-5)
    np.testing.assert_allclose(other.combine_terms(terms)[0], scores, rtol=1e-5)
    same = model.redecide(terms)
    assert same.threshold == model.threshold
    other.save(tmp_path / "other.keras")
    assert keras.saving.load_model(tmp_path / "other.keras").threshold == other.threshold


def test_a_dead_encoder_is_said_at_calibration(build, images):
    model = build()
    for variable in model.encoder1.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    with pytest.warns(UserWarning, match="encoder has collapsed"):
        model.calibrate(images)


@pytest.mark.parametrize("pretext", ["none", "rotations"])
def test_divergence_is_said_at_calibration(build, images, pretext):
    model = build(pretext=pretext)
    for variable in model.encoder1.trainable_variables:
        variable.assign(np.full(variable.shape, np.nan))
    with pytest.warns(UserWarning, match="not finite.*lower learning rate"):
        model.calibrate(images)


@pytest.mark.parametrize("pretext", ["none", "rotations"])
def test_a_broken_image_in_a_stream_is_anomalous(build, images, pretext):
    model = build(pretext=pretext)
    model.calibrate(images)
    broken = images[:4].astype("float32")
    broken[2, 3, 3] = np.nan
    out = model.predict(tf.data.Dataset.from_tensors(broken), verbose=0)
    assert np.isfinite(out["score"]).all()
    assert out["label"][2] == 1 and out["score"][2] == np.finfo("float32").max


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :4], r"Expected images of shape \(n, 8, 8, 1\).*Received: \(70, 4, 8, 1\)"),
        (lambda x: x.repeat(3, axis=-1), r"Received: \(70, 8, 8, 3\)"),
        (lambda x: x[0], r"Received: \(8, 8, 1\)"),
        (lambda x: x[:0], "at least one image.*Received: 0 images"),
        (lambda x: x.astype("U3"), "pixels that are numbers"),
        (lambda x: x.astype("complex64"), "pixels that are numbers"),
        (lambda x: np.where(x == x[0, 0, 0, 0], np.nan, x), r"Received: \d+ of 70 images with NaN"),
    ],
)
def test_wrong_images_are_refused(build, images, change, message):
    model = build()
    for take in (model.predict, model.evaluate, model.fit, model.calibrate):
        with pytest.raises(InputError, match=message):
            take(change(images))
    for validation_data in (change(images), (change(images), None)):
        with pytest.raises(InputError, match=message):
            model.fit(images, validation_data=validation_data)


def test_images_scaled_to_1_are_warned_of(build, images):
    model = build()
    model.set_threshold(0)
    with pytest.warns(UserWarning, match="highest pixel is at most 1.*by 255"):
        model.predict(images / 255.0, verbose=0)


def test_exports_refuse_a_model_without_a_threshold(build, tmp_path):
    with pytest.raises(InputError, match="calibrate.*before the export"):
        build().export(tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_calibration_takes_tensors_and_says_what_it_cannot_take(build, images):
    model = build()
    model.calibrate(tf.constant(images))
    threshold = model.threshold
    model.calibrate(images)
    assert model.threshold == threshold
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(9)
    model.calibrate(dataset, held_out=dataset)
    with pytest.raises(InputError, match="must be an array.*held_out"):
        model.calibrate(dataset)


def test_threshold_must_be_a_number(build):
    with pytest.raises(InputError, match="must be a number"):
        build().set_threshold(float("nan"))


def test_omega1_of_a_score_of_one_term(build, images):
    model = build(VARIANTS["single_ede"])
    with pytest.raises(InputError, match="one term in Equation"):
        model.redecide(model.calibrate(images), omega1=0.3)


def test_large_images_go_in_smaller_batches(build, images):
    """So that memory does not grow with the square of their size."""
    small, large = build(), build(image_size=64)
    assert [small.scale_batch_size(n) for n in (1, 32)] == [1, 32]
    assert [large.scale_batch_size(n) for n in (1, 32)] == [1, 8]
    large.calibrate(images)
    seen = []
    counter = keras.callbacks.LambdaCallback()
    counter.on_predict_batch_end = lambda batch, logs=None: seen.append(batch)
    large.predict(images, verbose=0, callbacks=[counter])
    assert seen == list(range(9))  # 70 images, 8 at once
