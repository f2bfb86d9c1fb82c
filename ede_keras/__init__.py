"""Anomaly detection in images with shared autoencoders (Jia and Liu, 2023), for Keras 3."""

import contextlib
import os
import re
import sys

from ede_keras.utils.quiet import without_log_lines

# TensorFlow reads both variables once, when it is imported.
# The faster kernels on any CPU: by itself TensorFlow uses them only with AVX-512.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# In a command, such as `ede-train` or `python -m ede_keras.export`, only errors on stderr. A
# script decides for itself.
_IS_COMMAND = any(
    re.search(r"(^|[/\\])ede-\w+(\.exe)?$|^ede_keras\.", word) for word in sys.orig_argv[1:4]
)
if _IS_COMMAND:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _refuse_backend(name: str) -> None:
    message = (
        "ede_keras trains and serves through TensorFlow. Set the environment variable "
        f"KERAS_BACKEND=tensorflow. Received: {name}"
    )
    raise SystemExit(f"Error: {message}") if _IS_COMMAND else ImportError(message)


# Before Keras imports another backend, which may not be there.
if (_backend := os.environ.get("KERAS_BACKEND", "tensorflow")) != "tensorflow":
    _refuse_backend(_backend)

# Anyone who sets it wants no log lines, but TensorFlow applies it too late.
_is_quiet = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") != "0" and sys.stderr is not None
with without_log_lines() if _is_quiet else contextlib.nullcontext():
    import keras
    import tensorflow  # noqa: F401  Keras imports it as well, but not all of it

if keras.backend.backend() != "tensorflow":  # by Keras' file of settings
    _refuse_backend(keras.backend.backend())

from ede_keras.errors import InputError
from ede_keras.evaluation.score_images import score_images
from ede_keras.layers.pretext import Pretext, TrainingViews
from ede_keras.models.ede import EDE
from ede_keras.models.tiled import TiledDetector
from ede_keras.models.variants import AutoEncoder, SingleEDE, TwinEDE
from ede_keras.serving.savedmodel import export_savedmodel
from ede_keras.training.fit_recipe import fit_recipe
from ede_keras.training.fit_rival import fit_rival
from ede_keras.version import __version__

__all__ = [
    "EDE",
    "AutoEncoder",
    "InputError",
    "Pretext",
    "SingleEDE",
    "TiledDetector",
    "TrainingViews",
    "TwinEDE",
    "__version__",
    "export_savedmodel",
    "fit_recipe",
    "fit_rival",
    "score_images",
]
