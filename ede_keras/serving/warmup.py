"""Warm-up requests, which TF Serving runs through a model before it lets users in.

TensorFlow Serving's own message classes come with a package of their own; what is needed of them
here are three nested messages of strings, so they are spelled on the wire by hand.
"""

import tensorflow as tf

# Numbers of the fields in tensorflow_serving/apis: prediction_log, predict and model.proto.
_PREDICT_LOG, _REQUEST, _MODEL_SPEC, _INPUTS, _SIGNATURE_NAME, _KEY, _VALUE = 6, 1, 1, 2, 3, 1, 2


def _varint(n):
    parts = []
    while n > 127:
        parts.append(n & 127 | 128)
        n >>= 7
    return bytes([*parts, n])


def _field(number, content):
    """A field of strings, bytes or a message, as protocol buffers write them."""
    content = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def encode_predict_log(signature_name, inputs):
    """A `PredictionLog` of one request, serialized.

    Args:
        signature_name: Signature of the SavedModel.
        inputs: The arrays of its inputs, by name.
    """
    request = _field(_MODEL_SPEC, _field(_SIGNATURE_NAME, signature_name))
    for name, array in inputs.items():
        tensor = tf.make_tensor_proto(array).SerializeToString()
        request += _field(_INPUTS, _field(_KEY, name) + _field(_VALUE, tensor))
    return _field(_PREDICT_LOG, _field(_REQUEST, request))


def write_warmup(path, requests):
    """Writes `assets.extra/tf_serving_warmup_requests`: `(signature_name, inputs)` each."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature_name, inputs in requests:
            writer.write(encode_predict_log(signature_name, inputs))
