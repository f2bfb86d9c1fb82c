"""Anomaly detection in images with shared autoencoders (Jia and Liu, 2023), for Keras 3."""

import os

from ede_keras.errors import InputError
from ede_keras.utils.start import IS_COMMAND, checks_flags_first
from ede_keras.version import __version__

# TensorFlow reads both variables once, when it is imported.
# The faster kernels on any CPU: by itself TensorFlow uses them only with AVX-512.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# In a command only errors on stderr. A script decides for itself.
if IS_COMMAND:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if not checks_flags_first():
    from ede_keras.library import (
        EDE,
        AutoEncoder,
        Pretext,
        SingleEDE,
        TiledDetector,
        TrainingViews,
        TwinEDE,
        export_savedmodel,
        fit_recipe,
        fit_rival,
        score_images,
    )

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
