"""CIFAR-10 and CIFAR-100 as published: folders or tar archives, binary or pickled.

Nothing is extracted to disk: the names in an archive are compared but never used as paths.
"""

import dataclasses
import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from ede_keras.data.formats import Arrays
from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath


@dataclasses.dataclass(frozen=True)
class _Form:
    """A form in which a CIFAR dataset is published."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: str


# The binary form comes first: unlike a pickle, it cannot run code.
_CIFAR = {
    "cifar10": (
        _Form(
            "cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
            tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
            "test_batch.bin",
        ),
        _Form(
            "cifar-10-batches-py",
            "cifar-10-python.tar.gz",
            tuple(f"data_batch_{i}" for i in range(1, 6)),
            "test_batch",
        ),
    ),
    "cifar100": (
        _Form("cifar-100-binary", "cifar-100-binary.tar.gz", ("train.bin",), "test.bin"),
        _Form("cifar-100-python", "cifar-100-python.tar.gz", ("train",), "test"),
    ),
}
_PICKLE_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
_PIXELS = 3 * 32 * 32


def cifar_files(name: str) -> list[str]:
    """Lists the folders and archives that `read_cifar` looks for, in order of preference.

    Args:
        name: "cifar10" or "cifar100".

    Returns:
        Their names; those of folders end in "/".
    """
    return [file for form in _CIFAR[name] for file in (f"{form.folder}/", form.archive)]


def read_cifar(root: StrPath, name: str) -> tuple[Arrays, Path] | None:
    """Reads CIFAR-10, or CIFAR-100 with its fine labels.

    Args:
        root: Folder that holds one of `cifar_files(name)`, or one of these itself.
        name: "cifar10" or "cifar100".

    Returns:
        `(arrays, path)`, or None if none of the files is found. `arrays` are `formats.Arrays`.

    Raises:
        InputError: Files are missing or damaged, or a pickle is not the published one.
        PermissionError: There is no permission to read a file.
    """
    for form in _CIFAR[name]:
        for path in (Path(root, form.folder), Path(root, form.archive), Path(root)):
            if path.name in (form.folder, form.archive) and path.exists():
                return _read_form(path, form, name), path
    return None


def _read_form(path: Path, form: _Form, name: str) -> Arrays:
    parts = {}
    try:
        for member, blob in _members(path, form):
            decode = _decode_binary if member.endswith(".bin") else _decode_pickle
            parts[member] = decode(f"{path}/{member}", blob, name)
    except PermissionError:  # the file itself may be fine
        raise
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise InputError(f"Cannot read {path}. Download it again. Received: {error}") from error
    if missing := {*form.train, form.test} - {*parts}:
        raise InputError(
            f"{path} must hold {', '.join((*form.train, form.test))}. Download it again. "
            f"Received: no {', '.join(sorted(missing))}"
        )
    x_train, y_train = (np.concatenate([parts[m][i] for m in form.train]) for i in (0, 1))
    return x_train, y_train, *parts[form.test]


def _members(path: Path, form: _Form) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of the form's files, in one pass over a folder or a tar archive."""
    wanted = {*form.train, form.test}
    if path.is_dir():
        yield from (
            (name, (path / name).read_bytes()) for name in sorted(wanted) if (path / name).is_file()
        )
        return
    with tarfile.open(path) as tar:
        for member in tar:
            file = PurePosixPath(member.name)
            is_wanted = file.parent.name == form.folder and file.name in wanted
            if is_wanted and member.isfile() and (content := tar.extractfile(member)):
                yield file.name, content.read()


def _decode_binary(file: str, blob: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    # CIFAR-100 has the coarse label before the fine one. The fine label determines the coarse one.
    n_labels = 2 if name == "cifar100" else 1
    if not blob or len(blob) % (n_labels + _PIXELS):
        raise InputError(
            f"{file} must hold records of {n_labels + _PIXELS} bytes. Download it again. "
            f"Received: {len(blob)} bytes"
        )
    records = np.frombuffer(blob, np.uint8).reshape(-1, n_labels + _PIXELS)
    return _to_images(records[:, n_labels:]), records[:, n_labels - 1].astype(np.int64)


def _decode_pickle(file: str, blob: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    received = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    if received != _PICKLE_MD5[PurePosixPath(file).name]:
        raise InputError(
            f"{file} must be the published file, because a pickle can run any code. Use the binary "
            f"version ({_CIFAR[name][0].archive}) or {name}.npz instead. Received: md5 {received}"
        )
    batch = _ArrayUnpickler(io.BytesIO(blob), encoding="bytes").load()
    labels = batch[b"fine_labels" if name == "cifar100" else b"labels"]
    return _to_images(batch[b"data"]), np.asarray(labels, np.int64)


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays only, because an md5 can be forged."""

    def find_class(self, module: str, name: str) -> type:
        module = module.replace("numpy.core", "numpy._core")  # the files are older than NumPy 2
        allowed = ("numpy ndarray", "numpy dtype", "numpy._core.multiarray _reconstruct")
        if f"{module} {name}" not in allowed:
            raise InputError(f"A CIFAR pickle must hold arrays only. Received: {module}.{name}")
        return super().find_class(module, name)


def _to_images(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
