"""Temporary arrays on disk, for data that may not fit into memory."""

import tempfile
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt


def store(
    rows: Iterable[npt.ArrayLike], row_shape: Sequence[int], dtype: npt.DTypeLike
) -> np.ndarray:
    """Stacks rows into one array on disk.

    Args:
        rows: Arrays of shape `row_shape`. They are read once and one at a time, so a generator
            works.
        row_shape: Shape of each row.
        dtype: Dtype of the result; rows of another dtype are converted.

    Returns:
        Read-only array of shape `(n, *row_shape)`; a `np.memmap` unless n is 0. Its file is in the
        system's temporary folder (set `TMPDIR` to choose another) and has no name. The disk space
        is freed when the array is deleted or the process ends.

    Raises:
        OSError: The disk is full.
    """
    n = 0
    # Written instead of mapped: on a full disk, writing to a map would kill the process.
    with tempfile.TemporaryFile() as file:
        for row in rows:
            file.write(np.ascontiguousarray(row, dtype).data)
            n += 1
        if not n:  # an empty file cannot be mapped
            return np.zeros((0, *row_shape), dtype)
        file.flush()
        return np.memmap(file, dtype, "r", shape=(n, *row_shape))
