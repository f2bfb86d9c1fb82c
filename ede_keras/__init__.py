"""Anomaly detection in images with shared autoencoders (Jia and Liu, 2023), for Keras 3."""

import os

# The faster kernels on any CPU; TensorFlow by itself takes them where there is AVX-512 alone. If
# it is imported already, it has chosen.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "ede_keras trains and serves through TensorFlow. Set the environment variable "
        f"KERAS_BACKEND=tensorflow. Received: {keras.backend.backend()}"
    )

from ede_keras.model import EDE
from ede_keras.savedmodel import export_savedmodel
from ede_keras.tiles import TiledDetector
from ede_keras.variants import AutoEncoder, SingleEDE, TwinEDE

__version__ = "0.1.0"
__all__ = ["EDE", "AutoEncoder", "SingleEDE", "TiledDetector", "TwinEDE", "export_savedmodel"]
