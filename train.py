"""Trains a detector on one normal class and scores a test set: `ede-train` from a checkout."""

import os

# TensorFlow reads it when it is imported: only errors on stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from ede_keras.cli.train import run

if __name__ == "__main__":
    run()
