"""Exports the scores of a model as one file for edge devices: ONNX or LiteRT (`.tflite`)."""

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ede_keras.errors import InputError

_OPSET = 18  # of ONNX; runtimes have supported it since 2023

# Takes the argument `images` and returns arrays by output name.
ScoreFunction = Callable[..., dict[str, np.ndarray]]


def _write_onnx(serve: tf.types.experimental.PolymorphicFunction, path: Path) -> None:
    import tf2onnx

    tf2onnx.convert.from_function(
        serve, input_signature=serve.input_signature, opset=_OPSET, output_path=str(path)
    )


def _write_litert(serve: tf.types.experimental.PolymorphicFunction, path: Path) -> None:
    # Converts the SavedModel in the same folder, because it keeps the names of the outputs.
    del serve
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(path.parent), signature_keys=["serving_default"]
    )
    path.write_bytes(converter.convert())


def _load_onnx(path: Path) -> ScoreFunction:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"images": images}), strict=True))


def _load_litert(path: Path) -> ScoreFunction:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path)).get_signature_runner()


class Format(NamedTuple):
    """A file format for edge devices.

    Args:
        file_name: Name of its file in the folder of the SavedModel.
        write: Writes the file: `write(serve, path)`. `serve` is the function of the signature
            `serving_default`; the SavedModel already lies in the folder of `path`.
        load: Loads the file: `load(path)` returns a function of `images`.
        modules: Modules that `write` and `load` need. The extra with the format's name installs
            them.
    """

    file_name: str
    write: Callable[[tf.types.experimental.PolymorphicFunction, Path], None]
    load: Callable[[Path], ScoreFunction]
    modules: tuple[str, ...]


FORMATS = {
    "onnx": Format("model.onnx", _write_onnx, _load_onnx, ("tf2onnx", "onnxruntime")),
    "litert": Format("model.tflite", _write_litert, _load_litert, ("ai_edge_litert",)),
}


def missing_modules(name: str) -> list[str]:
    """Returns the modules that the format `name` needs and that are not installed."""
    return [m for m in FORMATS[name].modules if importlib.util.find_spec(m) is None]


def check_formats(formats: Iterable[str]) -> None:
    """Raises an `InputError` if a format does not exist or is not installed."""
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"`formats` must be among {', '.join(FORMATS)}. Received: {name!r}")
        if missing := missing_modules(name):
            raise InputError(
                f"Format {name} needs an extra: pip install 'ede-keras[{name}]'. "
                f"Received: no module {missing[0]}"
            )
