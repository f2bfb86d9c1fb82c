"""COIL-100 as published: a folder or a zip file of PNG images. Nothing is extracted to disk."""

import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ede_keras.data.formats import Arrays
from ede_keras.data.images.decoding import decode_exact
from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath

_FILES = ("coil-100", "coil-100.zip")
_NAME = re.compile(r"obj(\d{1,3})__(\d{1,3})\.png", re.IGNORECASE)
_DAMAGE = (OSError, EOFError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile)


def read_coil(root: StrPath) -> tuple[Arrays, Path] | None:
    """Reads COIL-100: the images `coil-100/objN__A.png`, or the archive `coil-100.zip`.

    Args:
        root: Folder that holds `coil-100` or `coil-100.zip`, or one of these itself. Some of the
            objects and angles are enough.

    Returns:
        `(arrays, path)`, or None if neither is found. `arrays` are `formats.Arrays`, sorted by
        object, then by angle. All images are in the training part, with label = N (1-100).

    Raises:
        InputError: There are no such images, an image is damaged, or their sizes differ.
        PermissionError: There is no permission to read them.
    """
    for path in (*(Path(root, name) for name in _FILES), Path(root)):
        if path.name in _FILES and path.exists():
            try:
                x, y = _read_images(path)
            except PermissionError:  # the file itself may be fine
                raise
            except _DAMAGE as error:
                raise InputError(
                    f"Cannot read {path}. Download it again. Received: {error}"
                ) from error
            return (x, y, x[:0], y[:0]), path
    return None


def _read_images(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if path.is_dir():
        names = [file.name for file in path.iterdir()]
        return _decode_images(path, names, lambda name: (path / name).read_bytes())
    with zipfile.ZipFile(path) as archive:
        return _decode_images(path, archive.namelist(), archive.read)


def _decode_images(
    path: Path, names: Iterable[str], read: Callable[[str], bytes]
) -> tuple[np.ndarray, np.ndarray]:
    found = {}
    for name in names:
        match = _NAME.fullmatch(name.rpartition("/")[2])
        if match and 1 <= int(match[1]) <= 100:
            found[int(match[1]), int(match[2])] = name
    if not found:
        raise InputError(f"{path} must hold images obj1__0.png ... obj100__355.png. Received: none")
    files = [name for _, name in sorted(found.items())]

    def decode(name: str) -> np.ndarray:
        return decode_exact(read(name), f"{path}/{name}")

    shape = decode(files[0]).shape
    x = np.empty((len(files), *shape), np.uint8)
    for i, name in enumerate(files):
        image = decode(name)
        if image.shape != shape:
            raise InputError(
                f"{path}/{name} must have the shape of the other images, {shape}. "
                f"Received: {image.shape}"
            )
        x[i] = image
    return x, np.array([n for n, _ in sorted(found)], np.int64)
