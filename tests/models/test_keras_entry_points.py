"""Keras' other entry points: served, or refused in words."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

import ede_keras
from ede_keras.errors import InputError

REFUSED = {
    "clone_model": (lambda m: keras.models.clone_model(m), r"from_config\(model.get_config\(\)\)"),
    "h5": (lambda m: m.save("a.h5"), "ends in .keras.*Received: a.h5"),
    "hdf5": (lambda m: m.save("a.HDF5"), "ends in .keras"),
    "quantize": (lambda m: m.quantize("int8"), "Quantization is not supported"),
    "loss": (lambda m: m.compile(loss="mse"), "does not take `loss`: the model has its own losses"),
    "metrics": (lambda m: m.compile("adam", metrics=["mae"]), "does not take `metrics`"),
    "loss scale": (
        lambda m: m.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())),
        "pass the inner optimizer. Received: LossScaleOptimizer",
    ),
    "list": (lambda m: m.predict([np.zeros((8, 8, 1))] * 3), r"np.stack\(images\).*a list of 3"),
    "list to fit": (lambda m: m.fit([np.zeros((8, 8, 1))] * 3), "np.stack.*a list of 3"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("compiled", [True, False])
def test_refused_in_words(tmp_path, monkeypatch, name, compiled):
    monkeypatch.chdir(tmp_path)
    model = ede_keras.EDE((8, 8, 1), base_width=2, latent_dim=4, pretext="none")
    if compiled:
        model.compile()
    call, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        call(model)
    assert not list(tmp_path.iterdir())


def test_what_clone_model_advises(build, images):
    model = build()
    fresh = type(model).from_config(model.get_config())
    assert type(fresh) is ede_keras.EDE and fresh.get_config() == model.get_config()
    assert any(
        (a != b).any() for a, b in zip(fresh.get_weights(), model.get_weights(), strict=True)
    )


def test_arguments_of_compile_that_are_none_are_taken(build):
    build(compile_arguments={"loss": None, "metrics": None})


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(InputError, match="set_image_data_format.*'channels_first'"):
            ede_keras.EDE((8, 8, 1))
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("command", [("train.py",), ("-m", "ede_keras.export"), ("-c",)])
def test_another_backend_is_said_in_a_line(run_python, command):
    arguments = (*command, "import ede_keras") if command == ("-c",) else command
    env = {**os.environ, "KERAS_BACKEND": "torch"}
    done = run_python(*arguments, check=False, env=env)
    assert done.returncode == 1
    assert "KERAS_BACKEND=tensorflow. Received: torch" in done.stderr.splitlines()[-1]
    assert ("Traceback" in done.stderr) == (command == ("-c",))


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0, 65535, "highest pixel is .*from 0 to 255.*255 / 4095"),
        (-1, 1, r"lowest pixel is -1.*\(images \+ 1\) \* 127.5"),
        (0, 1, "highest pixel is at most 1.*multiply images in .* by 255"),
    ],
)
@pytest.mark.parametrize("as_dataset", [False, True])
def test_pixels_of_another_range_are_said(build, low, high, message, as_dataset):
    model = build()
    x = np.linspace(low, high, 40 * 64).reshape(40, 8, 8, 1).astype("float32")
    given = tf.data.Dataset.from_tensor_slices(x).batch(20) if as_dataset else x
    with pytest.warns(UserWarning, match=message):
        model.fit(given, verbose=0)
    model.set_threshold(0)
    with pytest.warns(UserWarning, match=message):
        model.predict(given, verbose=0)


def test_batches_of_any_size_are_traced_once(build, images):
    model = build(compile_arguments={})
    model.set_threshold(0)
    found = [model.predict(images[:n], batch_size=16, verbose=0)["score"] for n in (70, 33, 5, 1)]
    traced = model.predict_function
    for scores in found:
        np.testing.assert_allclose(scores, found[0][: len(scores)], rtol=1e-5)
    assert model.make_predict_function() is traced
    batch = model.predict_on_batch(images[:5].astype("float32"))
    np.testing.assert_allclose(batch["score"], found[0][:5], rtol=1e-5)
