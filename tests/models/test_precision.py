"""Mixed precision: networks compute in bfloat16 in a training step, and nowhere else."""

import keras
import numpy as np
import pytest
from makers import PLAIN
from sklearn.metrics import roc_auc_score

import ede_keras
from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.errors import InputError
from ede_keras.models.precision import computing_in

SHAPE = (16, 16, 1)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (64, *SHAPE), dtype=np.uint8)


def make(precision, **compile_arguments):
    keras.utils.set_random_seed(0)
    model = ede_keras.EDE(SHAPE, **PLAIN | {"base_width": 8, "norm": "l2"})
    model.compile(keras.optimizers.SGD(0.0), precision=precision, **compile_arguments)
    return model


def test_networks_alone_compute_in_bfloat16(images):
    """By what the layers return: a step's losses come near those of float32, no closer."""
    x = images[:8] / np.float32(127.5) - 1
    model = make("mixed_bfloat16")
    full = model.encoder1(x, training=True)
    with computing_in("mixed_bfloat16", model.encoders + model.decoders):
        half = model.encoder1(x, training=True)
        objectives = model.objectives(x, training=True)
    assert half.dtype == "bfloat16" and full.dtype == "float32"
    assert {loss.dtype.name for loss in objectives.reconstructions} == {"float32"}
    # bfloat16 keeps 8 bits: a few hundredths after four layers.
    np.testing.assert_allclose(np.asarray(half, "float32"), full, atol=0.05)
    assert np.abs(np.asarray(half, "float32") - full).max() > 1e-4
    assert model.encoder1(x).dtype == "float32"
    assert {weight.dtype for weight in model.weights if "seed" not in weight.path} == {"float32"}


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_step_comes_near_that_of_float32(images, jit_compile):
    losses = {}
    for precision in ("float32", "mixed_bfloat16"):
        model = make(precision, jit_compile=jit_compile)
        history = model.fit(images, batch_size=32, shuffle=False, verbose=0).history
        losses[precision] = [history[name][0] for name in ("loss", "ede1_loss", "ede2_loss")]
        assert {layer.dtype_policy.name for layer in model.encoder1.layers} == {"float32"}
    half, full = losses["mixed_bfloat16"], losses["float32"]
    np.testing.assert_allclose(half, full, rtol=0.02)
    assert half != full


def test_saved_and_loaded_it_goes_on(images, tmp_path):
    model = make("mixed_bfloat16")
    model.fit(images, batch_size=32, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_compile_config()["precision"] == "mixed_bfloat16"
    assert np.isfinite(loaded.fit(images, batch_size=32, verbose=0).history["loss"]).all()


def test_layers_with_a_policy_of_their_own_keep_it():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2, dtype="float64")]
    )
    with computing_in("mixed_bfloat16", [model]):
        assert [layer.dtype_policy.name for layer in model.layers] == ["mixed_bfloat16", "float64"]
    assert [layer.dtype_policy.name for layer in model.layers] == ["float32", "float64"]


def test_what_is_refused():
    with pytest.raises(InputError, match="one of float32, mixed_bfloat16. Received"):
        make("mixed_float16")


@pytest.mark.slow
def test_it_separates_as_float32_does():
    split = make_split(load_dataset("digits"), "split80", normal=2, seed=0)
    aurocs = []
    for precision in ("float32", "mixed_bfloat16"):
        model, _ = ede_keras.fit_recipe("default", split.x_train, precision=precision, verbose=0)
        model.calibrate(split.x_train, held_out=split.x_val)
        score = model.predict(split.x_test, verbose=0)["score"]
        aurocs.append(roc_auc_score(split.y_test, score))
    assert min(aurocs) > 0.99 and abs(np.subtract(*aurocs)) < 0.002
