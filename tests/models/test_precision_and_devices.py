"""Several devices share a batch and give one score; other precisions of Keras are refused."""

import os
from pathlib import Path

import keras
import makers
import pytest
from makers import PLAIN

SIZES = {"latent_dim": 4, "base_width": 2}

TWO_DEVICES = """
import numpy as np, keras, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import ede_keras

# With 0 an activation lies so near a kink that rounding chooses its side.
SEED = 1
# Each device gets a half of its own, darker in one, so batch normalization must share statistics.
batch = np.random.default_rng(SEED).integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)
batch[:16] //= 4

def train(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(SEED)
        # Squares: the kinks of absolute differences turn rounding errors into other paths.
        model = ede_keras.EDE((8, 8, 1), **PLAIN | {"norm": "l2"})
        start = [weight.numpy() for weight in model.trainable_weights]
        model.compile(keras.optimizers.SGD(1e-3))
    data = tf.data.Dataset.from_tensors(batch).repeat(3)
    history = model.fit(data, epochs=2, verbose=0).history
    return model, history, start

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert mirrored.num_replicas_in_sync == 2
model, history, start = train(mirrored)
alone, alone_history, _ = train(tf.distribute.get_strategy())
weights = zip(model.trainable_weights, alone.trainable_weights, start, strict=True)
for weight, expected, before in weights:
    one, other = mirrored.experimental_local_results(weight.value)
    np.testing.assert_array_equal(one.numpy(), other.numpy())
    np.testing.assert_allclose(one.numpy(), expected.numpy(), atol=1e-5)
    assert np.abs(expected.numpy() - before).max() > 1e-4
for name in ("loss", "ede1_loss", "ede2_loss"):
    np.testing.assert_allclose(history[name], alone_history[name], rtol=1e-4)
print("equal on two devices")
"""


ONE_SCORE = """
import numpy as np, keras, pytest, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import ede_keras

# Here the devices get images of their own, whose statistics differ.
images = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 1), dtype=np.uint8)
images[::2] //= 4
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with mirrored.scope():
    model = ede_keras.EDE((8, 8, 1), **PLAIN | {"pretext": "rotations", "memory_size": 9})
    with pytest.raises(ValueError, match="jit_compile=False"):
        model.compile(jit_compile=True)
    model.compile(keras.optimizers.Adam(1e-2))
model.fit(images, batch_size=16, epochs=3, verbose=0)
for weight in model.non_trainable_weights:
    if "moving" in weight.path:
        one, other = mirrored.experimental_local_results(weight.value)
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, err_msg=weight.path)
model.calibrate(images[:30], held_out=images[30:])
score = model.predict(images, batch_size=32, verbose=0)["score"]
near = {"rtol": 1e-5, "atol": 1e-5 * np.abs(score).max()}
np.testing.assert_allclose(model.predict(images, batch_size=2, verbose=0)["score"], score, **near)
np.testing.assert_allclose(model.combine_terms(model.compute_terms(images))[0], score, **near)
model.save("model.keras")
loaded = keras.saving.load_model("model.keras")
np.testing.assert_allclose(loaded.predict(images, verbose=0)["score"], score, **near)
print("one score")
"""


WITH_A_BACKBONE = """
import numpy as np, keras, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import ede_keras
from makers import make_backbone
from ede_keras.backbones.backbone import Backbone, choose_maps

images = np.random.default_rng(0).integers(0, 256, (40, 70, 70, 3), dtype=np.uint8)

def train(strategy):
    with strategy.scope():
        backbone = Backbone(choose_maps(make_backbone()))
    model, history = ede_keras.fit_recipe(
        "features", images[:32], validation_data=images[32:], strategy=strategy, seed=1,
        backbone=backbone, image_size=64, base_width=2, latent_dim=4, epochs=2, batch_size=8,
        min_steps=3, verbose=0,
    )
    model.calibrate(images[:32], held_out=images[32:])
    score = model.predict(images, batch_size=16, verbose=0)["score"]
    near = {"rtol": 1e-4, "atol": 1e-4 * np.abs(score).max()}
    one = model.predict(images[:4], batch_size=2, verbose=0)["score"]
    np.testing.assert_allclose(one, score[:4], **near)
    return model, history.history["loss"], score

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
model, loss, score = train(mirrored)
_, alone_loss, alone_score = train(tf.distribute.get_strategy())
np.testing.assert_allclose(loss, alone_loss, rtol=0.02)
assert np.corrcoef(score, alone_score)[0, 1] > 0.95
model.save("model.keras")
loaded = keras.saving.load_model("model.keras").predict(images, verbose=0)["score"]
np.testing.assert_allclose(loaded, score, rtol=1e-4, atol=1e-4 * np.abs(score).max())
print("also with a backbone")
"""


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_precisions_are_refused(build, policy):
    keras.config.set_dtype_policy(policy)
    try:
        with pytest.raises(ValueError, match="set_dtype_policy.'float32'.*" + policy):
            build()
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.slow
def test_mirrored_strategy_on_two_logical_devices(tmp_path, run_command):
    (tmp_path / "two.py").write_text(f"PLAIN = {SIZES | PLAIN}\n{TWO_DEVICES}")
    assert "equal on two devices" in run_command(tmp_path / "two.py").stdout


@pytest.mark.slow
def test_devices_agree_on_every_score(tmp_path, run_command):
    (tmp_path / "one.py").write_text(f"PLAIN = {SIZES | PLAIN}\n{ONE_SCORE}")
    assert "one score" in run_command(tmp_path / "one.py", cwd=tmp_path).stdout


@pytest.mark.slow
def test_two_devices_with_a_backbone(tmp_path, run_command):
    """What is left out of z differs between the devices' halves, so only nearly the same."""
    path = f"import sys; sys.path.insert(0, {str(Path(makers.__file__).parent)!r})"
    (tmp_path / "features.py").write_text(f"{path}\n{WITH_A_BACKBONE}")
    done = run_command(tmp_path / "features.py", cwd=tmp_path)
    assert "also with a backbone" in done.stdout


@pytest.mark.parametrize(("chosen", "expected"), [(None, True), ("0", False)])
def test_the_faster_kernels_are_on_unless_the_user_says_no(run_python, chosen, expected):
    """As TensorFlow itself sees it, in a process without the tests' own setting."""
    env = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    script = (
        "import ede_keras; from tensorflow.python.framework import test_util; "
        "print(test_util.IsMklEnabled())"
    )
    if chosen is not None:
        env["TF_ENABLE_ONEDNN_OPTS"] = chosen
    assert run_python("-c", script, env=env).stdout.split() == [str(expected)]
