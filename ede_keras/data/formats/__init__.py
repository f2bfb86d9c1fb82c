"""Readers of the file formats in which whole datasets are published."""

from typing import TypeAlias

import numpy as np

# x_train, y_train, x_test, y_test: images (n, height, width, channels), uint8 or float32 in 0-255,
# and class labels (n,), int64.
Arrays: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
