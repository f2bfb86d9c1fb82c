"""COIL-100 as its publisher packs it: a folder or a zip of PNG images, read in memory."""

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ede_keras.data.images.decoding import decode_exact
from ede_keras.errors import InputError

_FILES = ("coil-100", "coil-100.zip")
_NAME = re.compile(r"obj(\d{1,3})__(\d{1,3})\.png", re.IGNORECASE)
_DAMAGE = (OSError, EOFError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile)


def read_coil(root):
    """COIL-100 in a folder: `coil-100/objN__A.png`, or the publisher's `coil-100.zip`.

    Args:
        root: Folder that holds one of the two, or one of them itself; a part of the objects and
            angles is enough.

    Returns:
        The four arrays of `npz.read_npz`, sorted by object, then angle, all in the training
        part, with label = N (1-100); and the path. None if nothing is there.

    Raises:
        InputError: No such images, damaged ones, or several sizes.
    """
    for path in (*(Path(root, name) for name in _FILES), Path(root)):
        if path.name in _FILES and path.exists():
            try:
                x, y = _read_coil_images(path)
            except PermissionError:  # is no damage
                raise
            except _DAMAGE as error:
                raise InputError(
                    f"Cannot read {path}; fetch it again. Received: {error}"
                ) from error
            return (x, y, x[:0], y[:0]), path
    return None


def _read_coil_images(path):
    if path.is_dir():
        return _decode_coil(
            path, [file.name for file in path.iterdir()], lambda name: (path / name).read_bytes()
        )
    with zipfile.ZipFile(path) as archive:
        return _decode_coil(path, archive.namelist(), archive.read)


def _decode_coil(path, names, read):
    found = {}
    for name in names:
        match = _NAME.fullmatch(name.rpartition("/")[2])
        if match and 1 <= int(match[1]) <= 100:
            found[int(match[1]), int(match[2])] = name
    if not found:
        raise InputError(f"{path} must hold images obj1__0.png ... obj100__355.png. Received: none")
    x = None
    for i, key in enumerate(sorted(found)):
        image = decode_exact(read(found[key]), f"{path}/{found[key]}")
        x = np.empty((len(found), *image.shape), np.uint8) if x is None else x
        if image.shape != x.shape[1:]:
            raise InputError(
                f"{path}/{found[key]} must have the shape of the others, "
                f"{x.shape[1:]}. Received: {image.shape}"
            )
        x[i] = image
    return x, np.array([n for n, _ in sorted(found)], np.int64)
