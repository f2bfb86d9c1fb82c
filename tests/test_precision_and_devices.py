"""Mixed precision and several devices either work or say why not."""

import keras
import numpy as np
import pytest

TWO_DEVICES = """
import numpy as np, keras, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import ede_keras

half = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
# Both devices get the same half batch, so the statistics of batch normalization are those of one
# device that gets both, and so must be the weights.
batch = np.concatenate([half, half])

def train(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        # Squares: the kinks of absolute differences turn rounding errors into other paths.
        model = ede_keras.EDE((8, 8, 1), latent_dim=4, base_width=2, norm="l2")
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
model.compile()
model.fit(batch, verbose=0)
model.calibrate(batch)
assert model.predict(batch, verbose=0)["score"].shape == (32,)
print("equal on two devices")
"""


@pytest.fixture
def policy():
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def test_bfloat16_trains_and_scores_in_float32(policy, build, images):
    policy("mixed_bfloat16")
    model = build()
    assert model.encoder1.layers[1].compute_dtype == "bfloat16"
    history = model.fit(images, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    model.calibrate(images)
    score = model.predict(images, verbose=0)["score"]
    assert score.dtype == np.float32 and len(np.unique(score)) > 60


def test_float16_is_refused(policy, build):
    policy("mixed_float16")
    with pytest.raises(ValueError, match="'mixed_float16' is not supported.*mixed_bfloat16"):
        build()


@pytest.mark.slow
def test_mirrored_strategy_on_two_logical_devices(tmp_path, run_python):
    (tmp_path / "two.py").write_text(TWO_DEVICES)
    assert "equal on two devices" in run_python(tmp_path / "two.py").stdout
