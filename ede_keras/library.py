"""What `import ede_keras` offers, with TensorFlow; all classes that a saved model may have."""

import contextlib
import os
import sys

from ede_keras.utils.quiet import without_log_lines
from ede_keras.utils.start import IS_COMMAND


def _refuse_backend(name: str) -> None:
    message = (
        "ede_keras trains and serves through TensorFlow. Set the environment variable "
        f"KERAS_BACKEND=tensorflow. Received: {name}"
    )
    raise SystemExit(f"Error: {message}") if IS_COMMAND else ImportError(message)


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

from ede_keras.evaluation.score_images import score_images
from ede_keras.layers.pretext import Pretext, TrainingViews
from ede_keras.models.ede import EDE
from ede_keras.models.tiled import TiledDetector
from ede_keras.models.variants import AutoEncoder, SingleEDE, TwinEDE
from ede_keras.serving.savedmodel import export_savedmodel
from ede_keras.training.fit_recipe import fit_recipe
from ede_keras.training.fit_rival import fit_rival

__all__ = [
    "EDE",
    "AutoEncoder",
    "Pretext",
    "SingleEDE",
    "TiledDetector",
    "TrainingViews",
    "TwinEDE",
    "export_savedmodel",
    "fit_recipe",
    "fit_rival",
    "score_images",
]
