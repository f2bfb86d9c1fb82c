"""One call trains by a recipe, as the command does."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import read_rows
from makers import make_smooth_images

import ede_keras
from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.errors import InputError

# Without a pretext, whose graph takes long to trace; the command's runs have one.
SMALL = {"base_width": 2, "latent_dim": 4, "min_steps": 3, "pretext": "none", "verbose": 0}


def test_is_what_the_command_does(run_dir):
    """The run of the tests' fixture again, by the call: its history, calibration and scores."""
    config = json.loads((run_dir / "config.json").read_text())
    keras.utils.set_random_seed(5)  # the call has a seed of its own
    split = make_split(load_dataset("digits"), normal=2, seed=0)
    model, history = ede_keras.fit_recipe(
        "default",
        split.x_train,
        validation_data=split.x_val,
        seed=0,
        verbose=0,
        **{name: config[name] for name in ("base_width", "latent_dim", "epochs", "min_steps")},
    )
    rows = read_rows(run_dir / "checkpoints/history.csv")
    for name, values in history.history.items():
        np.testing.assert_allclose(values, [float(row[name]) for row in rows], rtol=1e-4)
    assert model.memory_size == config["memory_size"] == 4 * len(split.x_train)
    terms = model.calibrate(split.x_train, held_out=split.x_val)
    for name, column in terms.items():
        expected = [float(row[name]) for row in read_rows(run_dir / "calibration.csv")]
        np.testing.assert_allclose(column, expected, rtol=1e-2, atol=1e-3)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder of checkpoints after two epochs."""
    folder = tmp_path_factory.mktemp("begun")
    images = make_smooth_images()
    ede_keras.fit_recipe("default", images, epochs=2, checkpoint_dir=folder, **SMALL)
    return folder


def test_continues_from_a_checkpoint(images, begun, tmp_path):
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    whole, _ = ede_keras.fit_recipe("default", images, epochs=3, **SMALL)
    model, history = ede_keras.fit_recipe(
        "default", images, epochs=3, checkpoint_dir=tmp_path, **SMALL
    )
    assert history.epoch == [2]
    assert [row["epoch"] for row in read_rows(tmp_path / "history.csv")] == ["1", "2", "3"]
    for a, b in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"omega1": 0.5}, r"omega1 0.9 \(now 0.5\)"),
        ({"variant": ede_keras.TwinEDE}, r"variant 'EDE' \(now 'TwinEDE'\)"),
        ({"seed": 7}, r"seed 0 \(now 7\)"),
        ({"learning_rate": 0.5}, r"learning_rate 0.001 \(now 0.5\)"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(images, begun, arguments, message):
    before = {path.name: path.read_bytes() for path in begun.iterdir()}
    with pytest.raises(InputError, match=f"holds a training run with other arguments: {message}"):
        ede_keras.fit_recipe("default", images, epochs=3, checkpoint_dir=begun, **SMALL | arguments)
    assert {path.name: path.read_bytes() for path in begun.iterdir()} == before


@pytest.mark.parametrize("wrong", [[[1]], tf.zeros((4, 8, 8, 1)), np.zeros((4, 8, 8))])
def test_images_that_are_no_array_of_images(wrong):
    with pytest.raises(InputError, match="`x_train` must be a NumPy array|`image_shape` must be"):
        ede_keras.fit_recipe("default", wrong)


def test_arguments_reach_the_model_and_its_training(images):
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(self.params["steps"])

    model, history = ede_keras.fit_recipe(
        "paper",
        images,
        variant=ede_keras.TwinEDE,
        callbacks=[Spy()],
        batch_size=10,
        epochs=1,
        learning_rate=0.01,
        cosine_decay=True,
        omega1=0.25,
        **SMALL,
    )
    assert type(model) is ede_keras.TwinEDE and model.omega1 == 0.25
    assert seen == [7] and float(model.optimizer.learning_rate) == pytest.approx(0.01)
    assert "learning_rate" in history.history


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recipe": "best"}, "`recipe` must be one of"),
        ({"epoch": 3}, "Arguments must be among.*Received: epoch"),
        ({"n": 1}, "at least 2 normal images"),
    ],
)
def test_what_cannot_be_trained(images, arguments, message):
    x_train = images[: arguments.pop("n", None)]
    with pytest.raises(InputError, match=message):
        ede_keras.fit_recipe(**{"recipe": "default", "x_train": x_train} | arguments)
