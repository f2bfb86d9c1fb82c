"""CIFAR-10 and CIFAR-100 as their publisher packs them: folders or tars, binary or pickled.

Nothing is ever extracted: a member's name is only compared, never used as a path.
"""

import dataclasses
import hashlib
import io
import pickle
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from ede_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class _Form:
    """One of the forms in which a CIFAR set is published."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: str


# The binary form comes first: reading it can execute nothing.
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
    """The folders and archives, in the order of preference, that `read_cifar` looks for."""
    return [file for form in _CIFAR[name] for file in (f"{form.folder}/", form.archive)]


def read_cifar(root, name: str):
    """CIFAR-10 or CIFAR-100 (fine labels) in a folder.

    Args:
        root: Folder that holds one of `cifar_files(name)`, or one of them itself.
        name: "cifar10" or "cifar100".

    Returns:
        The four arrays of `npz.read_npz` and the path, or None if nothing is there.

    Raises:
        InputError: Incomplete or damaged files, or a pickle that is not the publisher's.
    """
    for form in _CIFAR[name]:
        for path in (Path(root, form.folder), Path(root, form.archive), Path(root)):
            if path.name in (form.folder, form.archive) and path.exists():
                return _read_form(path, form, name), path
    return None


def _read_form(path, form, name):
    parts = {}
    try:
        for member, blob in _members(path, form):
            decode = _decode_binary if member.endswith(".bin") else _decode_pickle
            parts[member] = decode(f"{path}/{member}", blob, name)
    except PermissionError:  # is no damage
        raise
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise InputError(f"Cannot read {path}; fetch it again. Received: {error}") from error
    if missing := {*form.train, form.test} - {*parts}:
        raise InputError(
            f"{path} must hold {', '.join((*form.train, form.test))}; fetch it again. "
            f"Received: no {', '.join(sorted(missing))}"
        )
    x_train, y_train = (np.concatenate([parts[m][i] for m in form.train]) for i in (0, 1))
    return x_train, y_train, *parts[form.test]


def _members(path, form):
    """Yields (name, bytes) of the form's files, in one pass over a folder or a tar."""
    wanted = {*form.train, form.test}
    if path.is_dir():
        yield from (
            (name, (path / name).read_bytes()) for name in sorted(wanted) if (path / name).is_file()
        )
        return
    with tarfile.open(path) as tar:
        for member in tar:
            file = PurePosixPath(member.name)
            if member.isfile() and file.parent.name == form.folder and file.name in wanted:
                yield file.name, tar.extractfile(member).read()


def _decode_binary(file, blob, name):
    # CIFAR-100 writes the coarse label before the fine one; the coarse one follows from it.
    n_labels = 2 if name == "cifar100" else 1
    if not blob or len(blob) % (n_labels + _PIXELS):
        raise InputError(
            f"{file} must hold records of {n_labels + _PIXELS} bytes; fetch it again. "
            f"Received: {len(blob)} bytes"
        )
    records = np.frombuffer(blob, np.uint8).reshape(-1, n_labels + _PIXELS)
    return _to_images(records[:, n_labels:]), records[:, n_labels - 1].astype(np.int64)


def _decode_pickle(file, blob, name):
    received = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    if received != _PICKLE_MD5[PurePosixPath(file).name]:
        raise InputError(
            f"{file} must be the publisher's own file, because a pickle can run any code. Use the "
            f"binary version ({_CIFAR[name][0].archive}) or {name}.npz. Received: md5 {received}"
        )
    batch = _ArrayUnpickler(io.BytesIO(blob), encoding="bytes").load()
    labels = batch[b"fine_labels" if name == "cifar100" else b"labels"]
    return _to_images(batch[b"data"]), np.asarray(labels, np.int64)


class _ArrayUnpickler(pickle.Unpickler):
    """Builds NumPy arrays and nothing else: md5 alone can be forged."""

    def find_class(self, module, name):
        module = module.replace("numpy.core", "numpy._core")  # the files are older than NumPy 2
        allowed = ("numpy ndarray", "numpy dtype", "numpy._core.multiarray _reconstruct")
        if f"{module} {name}" not in allowed:
            raise InputError(f"A CIFAR pickle must hold arrays only. Received: {module}.{name}")
        return super().find_class(module, name)


def _to_images(rows):
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
