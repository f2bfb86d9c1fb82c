"""Writes warm-up requests, which TF Serving runs on a model before it serves users.

The message classes of TF Serving are in a separate package. The requests need only a few nested
messages of strings, so this module encodes them by hand.
"""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from ede_keras.utils.files import StrPath

# Field numbers in prediction_log.proto, predict.proto and model.proto of tensorflow_serving/apis.
_PREDICT_LOG, _REQUEST, _MODEL_SPEC, _INPUTS, _SIGNATURE_NAME, _KEY, _VALUE = 6, 1, 1, 2, 3, 1, 2


def _varint(n: int) -> bytes:
    parts = []
    while n > 127:
        parts.append(n & 127 | 128)
        n >>= 7
    return bytes([*parts, n])


def _field(number: int, content: str | bytes) -> bytes:
    """Encodes a field that holds a string, bytes or a message, as protocol buffers do."""
    content = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def encode_predict_log(signature_name: str, inputs: dict[str, np.ndarray]) -> bytes:
    """Encodes one request as a serialized `PredictionLog`.

    Args:
        signature_name: Name of a signature of the SavedModel.
        inputs: Arrays by input name.

    Returns:
        The serialized message.
    """
    request = _field(_MODEL_SPEC, _field(_SIGNATURE_NAME, signature_name))
    for name, array in inputs.items():
        tensor = tf.make_tensor_proto(array).SerializeToString()
        request += _field(_INPUTS, _field(_KEY, name) + _field(_VALUE, tensor))
    return _field(_PREDICT_LOG, _field(_REQUEST, request))


def write_warmup(path: StrPath, requests: Iterable[tuple[str, dict[str, np.ndarray]]]) -> None:
    """Writes the file `assets.extra/tf_serving_warmup_requests` of a SavedModel.

    Args:
        path: The file.
        requests: Pairs of `(signature_name, inputs)`, as in `encode_predict_log`.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature_name, inputs in requests:
            writer.write(encode_predict_log(signature_name, inputs))
