"""Arrays on disk, for what may be more than memory holds."""

import tempfile

import numpy as np


def store(rows, row_shape, dtype):
    """Writes rows, one after the other, into one array on disk.

    Args:
        rows: Iterable of arrays `row_shape` of `dtype`; read once, one at a time.
        row_shape: Shape of each.
        dtype: Of each and of the whole.

    Returns:
        `(n, *row_shape)`: read-only, a `np.memmap` if n > 0. Its file, in the system's folder for
        temporary ones (`TMPDIR`), has no name: it ends with the array, or with the process.

    Raises:
        OSError: The disk is full.
    """
    n = 0
    # Written, not mapped: a full disk is then an error, and not the end of the process.
    with tempfile.TemporaryFile() as file:
        for row in rows:
            file.write(np.ascontiguousarray(row, dtype).data)
            n += 1
        if not n:  # no file of 0 bytes can be mapped
            return np.zeros((0, *row_shape), dtype)
        file.flush()
        return np.memmap(file, dtype, "r", shape=(n, *row_shape))
