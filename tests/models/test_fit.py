"""What `fit` and `evaluate` owe a Keras user."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from makers import Batches


def test_fit_takes_arrays_datasets_and_callbacks(build, images):
    stopper = keras.callbacks.EarlyStopping(patience=0, min_delta=1e9)
    for data in (images, tf.data.Dataset.from_tensor_slices(images).batch(35)):
        history = (
            build()
            .fit(data, epochs=5, validation_data=images[:10], callbacks=[stopper], verbose=0)
            .history
        )
        assert {"loss", "ede1_loss", "ede2_loss", "val_loss"} <= set(history)
        assert len(history["loss"]) == 2  # stopped by the callback


def test_labels_in_a_dataset_are_not_looked_at(build, images):
    losses = []
    for elements in (images, (images, np.arange(70))):
        keras.utils.set_random_seed(0)
        dataset = tf.data.Dataset.from_tensor_slices(elements).batch(35)
        losses.append(build().fit(dataset, verbose=0).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_fit_takes_a_py_dataset_and_a_validation_split(build, images):
    assert "loss" in build().fit(Batches(images, 35), verbose=0).history
    history = build().fit(images, validation_split=0.2, verbose=0).history
    assert "val_loss" in history


def test_fit_takes_keras_own_list_of_callbacks(build, images):
    model = build()
    callbacks = keras.callbacks.CallbackList([], add_history=True, model=model, epochs=4)
    for _ in range(2):
        model.fit(images, epochs=4, initial_epoch=3, callbacks=callbacks, verbose=0)
        assert float(model.epoch) == 4
    assert [type(c).__name__ for c in callbacks.callbacks].count("_EpochFollower") == 1


@pytest.mark.parametrize("weights", [{"sample_weight": np.ones(70)}, {"class_weight": {0: 2.0}}])
def test_weights_of_samples_are_refused(build, images, weights):
    with pytest.raises(ValueError, match="weights are not supported"):
        build().fit(images, verbose=0, **weights)


def test_weights_of_held_out_images_are_refused(build, images):
    with pytest.raises(ValueError, match="weights are not supported"):
        build().fit(images, validation_data=(images, None, np.ones(70)), verbose=0)


def test_weights_in_a_dataset_are_refused(build, images):
    weighted = tf.data.Dataset.from_tensors((images, np.zeros(70), np.ones(70)))
    with pytest.raises(ValueError, match="weights are not supported"):
        build().fit(weighted, verbose=0)


def test_training_learns(build, images):
    optimizer = {"optimizer": keras.optimizers.Adam(0.01)}
    model = build(schedule="floored_inverse_epoch", compile_arguments=optimizer)
    losses = model.fit(images, batch_size=10, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]


def test_evaluate_is_in_inference_mode(build, images):
    model = build()
    model.fit(images, verbose=0)
    together = model.evaluate(images, batch_size=70, verbose=0, return_dict=True)
    apart = model.evaluate(images, batch_size=10, verbose=0, return_dict=True)
    assert together == pytest.approx(apart, rel=1e-4)


def test_divergence_is_said(build, images):
    model = build(compile_arguments={"optimizer": keras.optimizers.SGD(1e30)})
    with pytest.warns(UserWarning, match="diverged.*a lower learning rate"):
        model.fit(images, batch_size=10, epochs=2, verbose=0)
