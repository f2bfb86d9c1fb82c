"""Prediction whose graph is traced once, whatever the number of images in a batch."""

from typing import Any

import keras
import tensorflow as tf


def trace_once(model: keras.Model) -> None:
    """Replaces a model's `predict_function` by one that is traced for any number of images.

    Keras traces it again for the last batch of a set. After a few sets TensorFlow then warns of
    retracing, as if that were the user's mistake.
    """
    if model.run_eagerly or model.steps_per_execution > 1:
        return
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return
    function = model.predict_function
    traced: dict[Any, Any] = {}

    def predict(data: Any) -> Any:
        specs = tf.nest.map_structure(
            lambda tensor: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype), data
        )
        key = str(specs)
        if key not in traced:
            traced[key] = function.get_concrete_function(specs)
        # A batch that `predict_on_batch` gets is still an array.
        return traced[key](*map(tf.convert_to_tensor, tf.nest.flatten(data)))

    model.predict_function = predict
