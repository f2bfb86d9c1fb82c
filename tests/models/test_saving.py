"""What is saved comes back the same, in this process and in another."""

import json

import keras
import numpy as np
import pytest

from ede_keras.models.variants import VARIANTS

SCORE_ELSEWHERE = """
import sys, numpy as np, keras, ede_keras
model = keras.models.load_model(sys.argv[1])
np.savez(sys.argv[3], threshold=model.threshold, epoch=float(model.epoch),
         **model.predict(np.load(sys.argv[2]), verbose=0))
"""


@pytest.fixture
def trained(build, images):
    model = build()
    model.fit(images, batch_size=35, epochs=2, verbose=0)
    model.calibrate(images)
    return model


def test_a_fresh_process_gives_the_same_scores(trained, images, tmp_path, run_command):
    trained.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "score.py").write_text(SCORE_ELSEWHERE)
    run_command(*(tmp_path / n for n in ("score.py", "model.keras", "images.npy", "out.npz")))
    there, here = np.load(tmp_path / "out.npz"), trained.predict(images, verbose=0)
    for name, value in here.items():
        np.testing.assert_allclose(there[name], value, rtol=1e-6, atol=1e-6)
    assert there["threshold"] == trained.threshold and there["epoch"] == 2


def test_training_goes_on_as_if_never_saved(trained, images, tmp_path):
    trained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for mine, saved in zip(loaded._optimizers(), trained._optimizers(), strict=True):
        assert int(mine.iterations) == 4
        for a, b in zip(mine.variables, saved.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    for model in (trained, loaded):
        model.fit(images, batch_size=35, initial_epoch=2, epochs=3, shuffle=False, verbose=0)
    for a, b in zip(trained.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


def test_compile_arguments_come_back(build, tmp_path):
    model = build(
        compile_arguments={
            "optimizer": keras.optimizers.SGD(0.5),
            "ede2_optimizer": keras.optimizers.RMSprop(0.25),
            "jit_compile": False,
            "steps_per_execution": 3,
        }
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.SGD)
    assert isinstance(loaded.ede2_optimizer, keras.optimizers.RMSprop)
    assert float(loaded.ede2_optimizer.learning_rate) == 0.25
    assert loaded.steps_per_execution == 3 and loaded.jit_compile is False


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_and_its_config(build, images, tmp_path, variant):
    options = {"norm": "l2", "score": "image", "omega1": 0.25, "contamination": 0.2}
    model = build(VARIANTS[variant], **options)
    model.calibrate(images)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is VARIANTS[variant]
    assert loaded.get_config() == model.get_config() == json.loads(json.dumps(model.get_config()))
    for name, value in model.predict(images, verbose=0).items():
        np.testing.assert_array_equal(loaded.predict(images, verbose=0)[name], value)


def test_weights_alone(build, images, tmp_path):
    model, other = build(), build()
    model.calibrate(images)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert other.threshold == model.threshold


def test_backup_and_restore(build, images, tmp_path):
    """Keras' own way to resume keeps both optimizers and the epoch."""

    class Killed(Exception):
        pass

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise Killed

    def fit(model, *callbacks):
        model.fit(images, epochs=4, batch_size=70, shuffle=False, verbose=0, callbacks=[*callbacks])
        return model

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(Killed):
        fit(build(), backup, Kill())
    resumed = fit(build(), keras.callbacks.BackupAndRestore(tmp_path / "backup"))
    assert float(resumed.epoch) == 4 and int(resumed.ede2_optimizer.iterations) == 4
    keras.utils.set_random_seed(0)
    unbroken = fit(build())
    for a, b in zip(resumed.weights, unbroken.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-5)
