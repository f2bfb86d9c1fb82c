"""The IDX format of MNIST.

A reader of a whole set returns `(x_train, y_train, x_test, y_test)`: images (n, h, w, c), uint8
or float32 in 0-255, and labels (n,), int64.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from ede_keras.errors import InputError

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx(path, ndim: int) -> np.ndarray:
    """One IDX file of bytes, plain or gzipped.

    Args:
        path: The file; gzip is recognised by its content, not by its name.
        ndim: Number of dimensions that it must have: 3 for images, 1 for labels.

    Returns:
        uint8 array with `ndim` dimensions, read-only.

    Raises:
        InputError: Not an IDX file, damaged, or of another size than its header says.
    """
    try:
        data = Path(path).read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except PermissionError:  # is no damage
        raise
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"Cannot read {path}; fetch it again. Received: {error}") from error
    header = 4 + 4 * ndim
    if len(data) < header or data[:4] != bytes((0, 0, 8, ndim)):
        raise InputError(
            f"{path} must be an IDX file of bytes with {ndim} dimension(s); fetch it again. "
            f"Received: a file of {len(data)} bytes that starts with {data[:4].hex()!r}"
        )
    shape = tuple(np.frombuffer(data, ">u4", ndim, offset=4).tolist())
    if len(data) - header != math.prod(shape):
        raise InputError(
            f"{path} must hold {math.prod(shape)} values of shape {shape}, as its header says; "
            f"fetch it again. Received: {len(data) - header} values"
        )
    return np.frombuffer(data, np.uint8)[header:].reshape(shape)


def read_idx_set(root):
    """The four IDX files of MNIST or Fashion-MNIST in a folder.

    Args:
        root: The folder; names may end in `.gz` and may be spelt `train-images.idx3-ubyte`.

    Returns:
        The four arrays and the folder, or None if one of the files is missing.
    """
    found = [
        [
            path
            for dot in (name, name.replace("-idx", ".idx"))
            for end in ("", ".gz")
            if (path := Path(root, dot + end)).is_file()
        ]
        for name in IDX_FILES
    ]
    if not all(found):
        return None
    parts = []
    for (images, *_), (labels, *_) in found[:2], found[2:]:
        x, y = read_idx(images, 3), read_idx(labels, 1)
        if len(x) != len(y):
            raise InputError(
                f"{images} and {labels} must belong together; fetch both again. "
                f"Received: {len(x)} images, {len(y)} labels"
            )
        parts += [x[..., None], y.astype(np.int64)]
    return tuple(parts), Path(root)
