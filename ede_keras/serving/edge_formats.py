"""A model's scores as one file for edge devices: ONNX and LiteRT (`.tflite`)."""

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ede_keras.errors import InputError

_OPSET = 18  # of ONNX; runtimes know it since 2023


def _write_onnx(serve, path):
    import tf2onnx

    tf2onnx.convert.from_function(
        serve, input_signature=serve.input_signature, opset=_OPSET, output_path=str(path)
    )


def _write_litert(serve, path):
    # By the SavedModel beside it, which knows the outputs' names.
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(path.parent), signature_keys=["serving_default"]
    )
    path.write_bytes(converter.convert())


def _load_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"images": images}), strict=True))


def _load_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path)).get_signature_runner()


class Format(NamedTuple):
    """A format: its file in the version's folder, how to write and how to read it."""

    file_name: str
    write: Callable  # (the function of the scores, path beside the SavedModel)
    load: Callable  # path -> a function of `images`, a dict of arrays
    modules: tuple  # which these need, of the extra that is named like the format


FORMATS = {
    "onnx": Format("model.onnx", _write_onnx, _load_onnx, ("tf2onnx", "onnxruntime")),
    "litert": Format("model.tflite", _write_litert, _load_litert, ("ai_edge_litert",)),
}


def missing_modules(name):
    """Those modules that a format needs and that are not installed."""
    return [m for m in FORMATS[name].modules if importlib.util.find_spec(m) is None]


def check_formats(formats):
    """Raises an `InputError` for a format that does not exist or is not installed."""
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"`formats` are {', '.join(FORMATS)}. Received: {name!r}")
        if missing := missing_modules(name):
            raise InputError(
                f"Format {name} needs the extra of its name: pip install 'ede-keras[{name}]'. "
                f"Received: no module {missing[0]}"
            )
