"""Anomaly detection in images with shared autoencoders (Jia and Liu, 2023), for Keras 3."""

import os
import pathlib
import re
import sys

from ede_keras.errors import InputError
from ede_keras.version import __version__

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


def _checks_flags_first() -> bool:
    """Whether this is a command that imports TensorFlow, which takes seconds, after its flags."""
    script = pathlib.Path(sys.argv[0] if sys.argv else "")
    if script.stem in ("ede-train", "ede-evaluate"):
        return True
    of_checkout = pathlib.Path(__file__).resolve().parent.parent
    return script.stem in ("train", "evaluate") and script.resolve().parent == of_checkout


if not _checks_flags_first():
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
