"""The NPZ format: NumPy arrays in a zip file."""

import zipfile
from typing import NamedTuple

import numpy as np

from ede_keras.data.formats import Arrays
from ede_keras.data.images.files import WHITES, find_white
from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath

NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


class ScaledArrays(NamedTuple):
    """The content of an `.npz` file.

    Args:
        arrays: The four `formats.Arrays` in 0-255, of which missing ones are empty.
        white: The value of white as stored; None for 8 bits and for floats up to 255, whose scale
            is known.
        stored_range: The lowest and the highest pixel as stored.
        dtype: That of the images as stored.
        unused: Names of the other arrays in the file.
    """

    arrays: Arrays
    white: int | None
    stored_range: tuple[float, float]
    dtype: np.dtype
    unused: tuple[str, ...]


def read_npz(path: StrPath, need_labels: bool = True) -> Arrays:
    """The arrays of `read_scaled_npz`, which finds the value of white by itself."""
    return read_scaled_npz(path, need_labels).arrays


def read_scaled_npz(
    path: StrPath, need_labels: bool = True, max_value: int | None = None
) -> ScaledArrays:
    """Reads an `.npz` file with the arrays x_train, y_train, x_test and y_test.

    Images have shape (n, h, w), (n, h, w, 1) or (n, h, w, 3), and labels (n,) or (n, 1). The range
    of the pixels is detected in x_train (in x_test if x_train is empty) and applies to both. Bool
    and floats up to 1 are multiplied by 255, numbers up to 255 are not changed, and of higher
    integers, the smallest of 1023, 4095, 16383 and 65535 that no pixel of both exceeds is white.

    Args:
        path: The file. Pickled objects in it are refused.
        need_labels: Whether all four arrays are required. If False, x_train or x_test is enough.
        max_value: The value of white in integers other than uint8 and in floats above 255.

    Returns:
        The arrays in 0-255, and what was found.

    Raises:
        InputError: Not such a file, or damaged.
        OSError: The file is missing, or there is no permission to read it.
    """
    arrays, unused = _load_npz(path, need_labels)
    images = {k: _check_images(path, k, x) for k, x in arrays.items() if k.startswith("x")}
    labels = {k: _check_labels(path, k, y) for k, y in arrays.items() if k.startswith("y")}
    no_images, no_labels = next(iter(images.values()))[:0], np.zeros(0, np.int64)
    x_train, x_test = (images.get(f"x_{part}", no_images) for part in ("train", "test"))
    y_train, y_test = (labels.get(f"y_{part}", no_labels) for part in ("train", "test"))
    for part, x, y in ("train", x_train, y_train), ("test", x_test, y_test):
        if len(x) != len(y) and f"y_{part}" in labels:
            raise InputError(
                f"{path}: x_{part} and y_{part} must have the same length. "
                f"Received: {len(x)} images, {len(y)} labels"
            )
    kinds = [(x.shape[1:], x.dtype.name) for x in (x_train, x_test)]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"{path}: x_train and x_test must have the same image shape and dtype. "
            f"Received: {kinds[0]} and {kinds[1]}"
        )
    if not len(x_train) + len(x_test):
        raise InputError(f"{path} must hold at least one image. Received: 0 images")
    white = _find_white(path, x_train, x_test, max_value)
    filled = [x for x in (x_train, x_test) if len(x)]
    return ScaledArrays(
        (_to_255(x_train, white), y_train, _to_255(x_test, white), y_test),
        white if white > 255 or white == max_value else None,
        (min(x.min() for x in filled).item(), max(x.max() for x in filled).item()),
        x_train.dtype,
        unused,
    )


def _load_npz(path: StrPath, need_labels: bool) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Those of the four arrays that the file has, in the order of `NPZ_KEYS`; names of others."""
    wanted = ", ".join(NPZ_KEYS) if need_labels else "x_train or x_test (images to score)"
    expected = f"{path} must be an .npz file with the arrays {wanted}"
    # Opened here, because np.load leaves a damaged file open, and because a file that may not be
    # read is not damaged.
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(path):
            raise InputError(
                f"{expected}. Write it with np.savez. Received: a file that is not a zip file, or "
                "is incomplete"
            )
        try:
            with np.load(file, allow_pickle=False) as archive:
                found = archive.files
                missing = [key for key in NPZ_KEYS if key not in found]
                has_images = not {"x_train", "x_test"} <= {*missing}
                if not missing or (not need_labels and has_images):
                    arrays = {key: archive[key] for key in NPZ_KEYS if key in found}
                    return arrays, tuple(key for key in found if key not in arrays)
        except Exception as error:  # a damaged zip file raises many types: zlib.error, KeyError...
            raise InputError(f"{expected}. Write it again. Received: {error}") from error
    raise InputError(f"{expected}. Received: {found}, so {missing} is missing")


def _check_images(path: StrPath, key: str, x: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "buif":
        raise InputError(f"{path}: {key} must be numbers. Received: dtype {x.dtype}")
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.shape[3] not in (1, 3) or 0 in x.shape[1:]:
        shapes = "(n, h, w), (n, h, w, 1) or (n, h, w, 3)"
        raise InputError(f"{path}: {key} must have shape {shapes}. Received: {x.shape}")
    if x.dtype.kind == "f" and (bad := x.size - np.count_nonzero(np.isfinite(x))):
        raise InputError(f"{path}: {key} must be finite. Received: {bad} NaN or infinite values")
    if x.size and (low := x.min()) < 0:
        raise InputError(
            f"{path}: {key} must not be negative. Scale it to 0-1 or 0-255. Received: minimum {low}"
        )
    return x


def _check_labels(path: StrPath, key: str, y: np.ndarray) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in "buif":
        raise InputError(
            f"{path}: {key} must be whole numbers of shape (n,) or (n, 1). "
            f"Received: dtype {y.dtype}, shape {y.shape}"
        )
    with np.errstate(invalid="ignore"):  # NaN and infinity fail the comparison below
        labels = y.astype(np.int64)
    if (wrong := y[labels != y]).size:
        raise InputError(f"{path}: {key} must be whole numbers. Received: {wrong[0]}")
    return labels


def _find_white(
    path: StrPath, x_train: np.ndarray, x_test: np.ndarray, max_value: int | None
) -> int:
    """Finds the value of a white pixel: 1, 255, or that of more than 8 bits."""
    high, other = x_train.max(initial=0), x_test.max(initial=0)
    high, highest = high if len(x_train) else other, max(high, other)
    kind = x_train.dtype.kind
    if x_train.dtype == np.uint8:
        return 255
    if kind in "ui" and (max_value is not None or highest <= WHITES[-1]):
        return find_white(path, int(highest), max_value)
    if kind == "f" and high > 255 and max_value is not None:
        return find_white(path, int(np.ceil(highest)), max_value)
    if kind in "ui" or high > 255:
        raise InputError(
            f"{path}: images must be in 0-1, in 0-255, or integers up to {WHITES[-1]}; or pass "
            f"--max_value, the value of white. Received: dtype {x_train.dtype} with maximum {high}"
        )
    white = 1 if high <= 1.001 else 255  # allows rounding errors
    if other > 1.001 * white:
        raise InputError(
            f"{path}: x_train and x_test must have the same range, here 0-{white}. "
            f"Received: maximum {other}"
        )
    return white


def _to_255(x: np.ndarray, white: int) -> np.ndarray:
    if x.dtype == bool:
        return x.astype(np.uint8) * np.uint8(255)
    if x.dtype.kind in "ui" and white == 255:
        return np.minimum(x, 255).astype(np.uint8)
    x = x.astype(np.float32)
    x *= 255 / white
    return np.minimum(x, 255, out=x)
