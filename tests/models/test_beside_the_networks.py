"""What the score knows beside the networks: nearest image, components, the map's peak, light."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from makers import Batches

import ede_keras
from ede_keras.errors import InputError


@pytest.fixture
def photographs():
    """Images of 16 x 16 pixels, all about equally bright."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.linspace(0, 6, 16) + rng.uniform(0, 6, (80, 1, 1))) * np.ones((80, 16, 16))
    return (100 + 40 * waves + rng.normal(0, 2, waves.shape))[..., None].astype("uint8")


@pytest.fixture
def model(build, photographs):
    model = build(image_shape=(16, 16, 1), components=4, memory_size=60, norm="l2", score="image")
    held_out = model.calibrate(photographs[:60], held_out=photographs[60:])
    assert set(held_out) == {"x_x2p", "z_z2p", "nearest_image", "map_peak"}
    return model


def test_the_peak_is_that_of_the_map(model, photographs):
    maps = model.predict(photographs, verbose=0)["anomaly_map"]
    peaks = model.compute_terms(photographs)["map_peak"]
    np.testing.assert_allclose(peaks, maps.max(axis=(1, 2)), rtol=1e-4, atol=1e-4)


def test_the_map_is_scaled_by_training_images(model, photographs):
    """Mean and deviation of each pixel's two residuals, with two images more."""
    parts = model._predict_inner("maps", model.graph.maps, photographs, 256)
    expected = 0
    for name in ("residual", "components"):
        known = parts[name][:60].astype("float64")
        center = (known.sum(0) + 2 * known.mean()) / 62
        variance = (np.square(known - center).sum(0) + 2 * known.var()) / 62 + known.var()
        expected = expected + (parts[name] - center) / np.sqrt(variance)
    found = model.compute_maps(photographs)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_small_defect_decides_alone(model, photographs):
    good = photographs[60:]
    bad = good.copy()
    bad[:, 4:6, 7:9] = 250
    scores, labels = (model.predict(bad, verbose=0)[name] for name in ("score", "label"))
    assert labels.all() and model.predict(good, verbose=0)["label"].mean() <= 0.05
    parts = model.weigh_terms(model.compute_terms(bad))
    np.testing.assert_allclose(sum(parts.values()), scores, rtol=1e-4)
    assert (parts["map_peak"] > 0.5 * scores).all()


def test_saved_and_exported(model, photographs, tmp_path):
    scores = model.predict(photographs, verbose=0)["score"]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(photographs, verbose=0)["score"], scores)
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    served = exported.serve(photographs.astype("float32"))
    np.testing.assert_allclose(served["score"], scores, rtol=1e-3, atol=1e-3)


def test_a_data_set_calibrates_as_its_array(build, photographs):
    found = []
    batches = tf.data.Dataset.from_tensor_slices(photographs[:60]).batch(32)
    for normal in (photographs[:60], batches):
        model = build(image_shape=(16, 16, 1), components=4, memory_size=60)
        found.append(model.calibrate(normal, held_out=photographs[60:])["nearest_image"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_a_dimmer_lamp_is_no_anomaly(build):
    rng = np.random.default_rng(0)
    part = rng.integers(30, 200, (16, 16, 1))
    images = np.clip(part + rng.normal(0, 1, (80, 16, 16, 1)), 0, 255).astype("uint8")
    dim = (images[60:] * 0.88).astype("uint8")
    further = {}
    for lighting in (0.0, 0.2):
        model = build(image_shape=(16, 16, 1), components=4, memory_size=240, lighting=lighting)
        model.fit(images[:60], epochs=1, verbose=0)
        usual = model.calibrate(images[:60], held_out=images[60:])["map_peak"]
        further[lighting] = (model.compute_terms(dim)["map_peak"] > 2 * usual.max()).mean()
    assert further == {0.0: 1.0, 0.2: 0.0}


def test_one_image_is_too_few(build, photographs):
    model = build(image_shape=(16, 16, 1), components=4)
    with pytest.raises(InputError, match="at least 2 normal images"):
        model.calibrate(photographs[:1], held_out=photographs[1:])


def test_recipes_of_the_paper_have_none_of_it():
    for name in ("paper", "default_no_pretext"):
        model = ede_keras.EDE.from_recipe(name, (16, 16, 1))
        assert model.memory is None and model.light is None
        assert set(model.score_weights) == set(model.equation8_weights)


def test_the_light_of_training_is_saved(build, photographs, tmp_path):
    model = build(image_shape=(16, 16, 1), components=4, memory_size=60, lighting=0.2)
    model.fit(photographs[:60], epochs=1, verbose=0)
    varied = float(model.light.range)
    assert varied > 0.1
    held_out = model.calibrate(photographs[:60], held_out=photographs[60:])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert float(loaded.light.range) == varied and float(loaded.light.adapted) == 1
    assert float(model.redecide(held_out, contamination=0.5).light.range) == varied
    again = loaded.calibrate(photographs[:60], held_out=photographs[60:])
    for name, terms in held_out.items():
        np.testing.assert_allclose(again[name], terms, rtol=1e-4, atol=1e-4)


def test_all_kinds_of_data_sets_train_and_calibrate(build, photographs):
    """The light and the memory are those of the array."""
    whole = photographs[:60]
    batches = tf.data.Dataset.from_tensor_slices(whole).batch(30)
    ranges, terms = [], []
    for data in (whole, batches, Batches(whole, 30)):
        model = build(image_shape=(16, 16, 1), components=4, memory_size=60, lighting=0.2)
        model.fit(data, epochs=1, verbose=0)
        ranges.append(float(model.light.range))
        terms.append(model.calibrate(data, held_out=photographs[60:])["nearest_image"])
    assert ranges == pytest.approx([ranges[0]] * 3) and ranges[0] > 0.1
    np.testing.assert_allclose(terms[1], terms[2], rtol=1e-4)
    model = build(image_shape=(16, 16, 1), lighting=0.2)
    endless = ((whole[:30],) for _ in itertools.count())
    model.fit(endless, steps_per_epoch=2, shuffle=False, verbose=0)
    assert float(model.light.range) == 0


@pytest.mark.parametrize("form", ["bounded", "cooperative", "restoration"])
def test_each_form_of_phase_2_trains_under_xla(build, photographs, form):
    """Nearly the same steps as without it: XLA draws other random numbers."""
    losses = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        arguments = {"optimizer": keras.optimizers.SGD(1e-3), "jit_compile": jit_compile}
        model = build(
            compile_arguments=arguments,
            image_shape=(16, 16, 1),
            phase2_form=form,
            schedule="floored_inverse_epoch",
            phase_floor=0.5,
            lighting=0.2,
        )
        history = model.fit(photographs, batch_size=40, epochs=2, shuffle=False, verbose=0).history
        losses.append([history[name] for name in ("loss", "ede1_loss", "ede2_loss")])
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05, atol=0.5)
