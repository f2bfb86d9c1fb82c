"""The NPZ format: NumPy arrays in a zip file.

A reader of a whole set returns `(x_train, y_train, x_test, y_test)`: images (n, h, w, c), uint8
or float32 in 0-255, and labels (n,), int64.
"""

import zipfile

import numpy as np

from ede_keras.errors import InputError

NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path, need_labels=True):
    """An `.npz` file with x_train, y_train, x_test and y_test.

    Images are (n, h, w), (n, h, w, 1) or (n, h, w, 3). Their range is decided once, on x_train
    (on x_test if x_train is empty), and holds for both: bool and floats up to 1 are multiplied
    by 255, 16-bit integers above 255 are divided by 257, uint8 is left as it is.

    Args:
        path: The file; it is never unpickled.
        need_labels: Whether all four arrays must be there, else x_train or x_test is enough.

    Returns:
        The four arrays, empty where there is none.

    Raises:
        InputError: Anything that is not such a file.
    """
    arrays = {
        key: (_check_images if key.startswith("x") else _check_labels)(path, key, array)
        for key, array in _load_npz(path, need_labels).items()
    }
    no_images, no_labels = arrays.get("x_train", arrays.get("x_test"))[:0], np.zeros(0, np.int64)
    empty = dict(zip(NPZ_KEYS, (no_images, no_labels) * 2, strict=True))
    x_train, y_train, x_test, y_test = (empty | arrays).values()
    for part, x, y in ("train", x_train, y_train), ("test", x_test, y_test):
        if len(x) != len(y) and f"y_{part}" in arrays:
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
    high = _white(path, x_train if len(x_train) else x_test)
    return _to_255(path, x_train, high), y_train, _to_255(path, x_test, high), y_test


def _load_npz(path, need_labels):
    """Those of the four arrays that are there."""
    wanted = ", ".join(NPZ_KEYS) if need_labels else "x_train or x_test, images to score"
    expected = f"{path} must be an .npz file with the arrays {wanted}"
    # Opened here, because what may not be opened is no damage, and np.load leaves damage open.
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(path):
            raise InputError(
                f"{expected}; write it with np.savez. Received: no, or no whole, zip file"
            )
        try:
            with np.load(file, allow_pickle=False) as archive:
                found = archive.files
                missing = [key for key in NPZ_KEYS if key not in found]
                if not missing or not need_labels and not {"x_train", "x_test"} <= {*missing}:
                    return {key: archive[key] for key in NPZ_KEYS if key in found}
        except Exception as error:  # a damaged zip raises nearly anything: zlib, KeyError...
            raise InputError(f"{expected}; write it again. Received: {error}") from error
    raise InputError(f"{expected}. Received: {found}, so {missing} is missing")


def _check_images(path, key, x):
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
            f"{path}: {key} must not be negative; scale it to 0-1 or 0-255. Received: minimum {low}"
        )
    return x


def _check_labels(path, key, y):
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


def _white(path, x):
    """The value that is white in x: 1, 255 or 65535."""
    high = x.max()
    if x.dtype == bool or (x.dtype.kind == "f" and high <= 1.001):  # room for rounding errors
        return 1
    if high <= 255:
        return 255
    if x.dtype.kind in "ui" and high <= 65535:
        return 65535
    raise InputError(
        f"{path}: images must be in 0-1, in 0-255, or 16-bit integers. "
        f"Received: dtype {x.dtype} with maximum {high}"
    )


def _to_255(path, x, white):
    if x.size and (high := x.max()) > 1.001 * white:
        raise InputError(
            f"{path}: x_train and x_test must have the same range, here 0-{white}. "
            f"Received: maximum {high}"
        )
    if x.dtype.kind != "f" and white < 65535:
        x = x.astype(np.uint8, copy=False)
        return x * np.uint8(255) if white == 1 else x
    x = x.astype(np.float32)
    x *= 255 / white
    return np.minimum(x, 255, out=x)
