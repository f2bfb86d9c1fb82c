"""The IDX format of MNIST and Fashion-MNIST."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from ede_keras.data.formats import Arrays
from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx(path: StrPath, ndim: int) -> np.ndarray:
    """Reads an IDX file of bytes, plain or gzipped.

    Args:
        path: The file. Gzip is detected from the content, not from the name.
        ndim: Expected number of dimensions: 3 for images, 1 for labels.

    Returns:
        Read-only uint8 array with `ndim` dimensions.

    Raises:
        InputError: Not such an IDX file, damaged, or its size does not match its header.
        PermissionError: There is no permission to read the file.
    """
    try:
        data = Path(path).read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except PermissionError:  # the file itself may be fine
        raise
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"Cannot read {path}. Download it again. Received: {error}") from error
    header = 4 + 4 * ndim
    if len(data) < header or data[:4] != bytes((0, 0, 8, ndim)):
        raise InputError(
            f"{path} must be an IDX file of bytes with {ndim} dimension(s). Download it again. "
            f"Received: a file of {len(data)} bytes that starts with {data[:4].hex()!r}"
        )
    shape = tuple(np.frombuffer(data, ">u4", ndim, offset=4).tolist())
    if len(data) - header != math.prod(shape):
        raise InputError(
            f"{path} must hold {math.prod(shape)} values, because its header gives the shape "
            f"{shape}. Download it again. Received: {len(data) - header} values"
        )
    return np.frombuffer(data, np.uint8)[header:].reshape(shape)


def read_idx_set(root: StrPath) -> tuple[Arrays, Path] | None:
    """Reads the four IDX files of MNIST or Fashion-MNIST in a folder.

    Args:
        root: The folder. The names of the files are those in `IDX_FILES`; they may end in `.gz`,
            and "-idx" may be spelt ".idx".

    Returns:
        `(arrays, folder)`, or None if a file is missing. `arrays` are `formats.Arrays`.

    Raises:
        InputError: A file is damaged, or the numbers of images and labels differ.
        PermissionError: There is no permission to read a file.
    """
    found = [
        [
            path
            for spelling in (name, name.replace("-idx", ".idx"))
            for extension in ("", ".gz")
            if (path := Path(root, spelling + extension)).is_file()
        ]
        for name in IDX_FILES
    ]
    if not all(found):
        return None
    train_images, train_labels, test_images, test_labels = (paths[0] for paths in found)
    x_train, y_train = _read_pair(train_images, train_labels)
    x_test, y_test = _read_pair(test_images, test_labels)
    return (x_train, y_train, x_test, y_test), Path(root)


def _read_pair(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    x, y = read_idx(images, 3), read_idx(labels, 1)
    if len(x) != len(y):
        raise InputError(
            f"{images} and {labels} must hold the same number of images and labels. Download both "
            f"again. Received: {len(x)} images, {len(y)} labels"
        )
    return x[..., None], y.astype(np.int64)
