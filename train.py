"""Trains a detector on one normal class and scores a test set: `ede-train` from a checkout."""

import os
import sys

# TensorFlow reads it when it is imported: only errors on stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

try:
    from ede_keras.cli.train import run
except ImportError as error:  # a package is missing
    sys.exit(f"Error: {error}")

if __name__ == "__main__":
    run()
