"""Finds the built-in datasets: in a given folder, Keras's cache or a Debian package, or online."""

import os
import socket
from pathlib import Path

import keras
import numpy as np

from ede_keras.data.formats import Arrays, cifar, coil, idx, npz
from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath

_DEBIAN_FMNIST = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist
_COIL_HOME = "http://www.cs.columbia.edu/CAVE/software/softlib/coil-100.php"
_TIMEOUT = 30  # seconds; a download fails if the server does not respond for so long

# Where other programs store the published files. Keras uses the names that end in "-target".
_SUBFOLDERS: dict[str, tuple[str, ...]] = {
    "mnist": ("MNIST/raw",),
    "fmnist": ("fashion-mnist", "FashionMNIST/raw"),
    "cifar10": ("cifar-10-batches-py-target",),
    "cifar100": ("cifar-100-python-target",),
    "coil100": (),
}
_DOWNLOADS = {
    "mnist": keras.datasets.mnist,
    "fmnist": keras.datasets.fashion_mnist,
    "cifar10": keras.datasets.cifar10,
    "cifar100": keras.datasets.cifar100,
}


def find_arrays(name: str, data_dir: StrPath | None = None) -> tuple[Arrays, str]:
    """Reads a built-in dataset from the first place that has it.

    Args:
        name: "mnist", "fmnist", "cifar10", "cifar100" or "coil100".
        data_dir: The only folder to search. For CIFAR and COIL-100 it may also be the published
            folder or archive itself. Default: search Keras's cache (`KERAS_HOME`, by default
            `~/.keras`), then the Debian package of Fashion-MNIST, then download the dataset.

    Returns:
        `(arrays, place)`: the `formats.Arrays`, and where they were found.

    Raises:
        InputError: The dataset was not found, or its files are damaged.
        PermissionError: There is no permission to read a file.
    """
    cache = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"
    if data_dir is not None:
        roots = _roots(Path(data_dir).expanduser().absolute(), name)
    else:
        roots = _roots(cache, name)
        if name == "fmnist":
            roots.append(_DEBIAN_FMNIST)
    for root in roots:
        try:
            found = _read(name, root)
        except InputError as error:
            if data_dir is None and root.is_relative_to(cache):
                raise InputError(
                    f"{error}. A download that was killed may have left this file in Keras's "
                    "cache. Delete the file to download it again."
                ) from error
            raise
        if found is not None:
            arrays, path = found
            return arrays, str(path)
    looked = f"Looked for {_describe_files(name)} in {', '.join(map(str, roots))}."
    if data_dir is not None:
        raise InputError(f"{name} must be in data_dir. {looked} Received: data_dir={data_dir!r}")
    if name == "coil100":
        raise InputError(
            f"coil100 cannot be downloaded automatically. Download coil-100.zip from {_COIL_HOME} "
            f"and pass its folder as data_dir. {looked} Received: dataset='coil100'"
        )
    return _download(name, looked), "download by keras.datasets"


def _roots(folder: Path, name: str) -> list[Path]:
    return [folder, folder / name, *(folder / sub for sub in _SUBFOLDERS[name])]


def _read(name: str, root: Path) -> tuple[Arrays, Path] | None:
    path = root / f"{name}.npz"
    if path.is_file():
        return npz.read_npz(path), path
    if name in ("mnist", "fmnist"):
        return idx.read_idx_set(root)
    return coil.read_coil(root) if name == "coil100" else cifar.read_cifar(root, name)


def _describe_files(name: str) -> str:
    if name in ("mnist", "fmnist"):
        files = ", ".join(f"{file}[.gz]" for file in idx.IDX_FILES)
    elif name == "coil100":
        files = "coil-100/ or coil-100.zip"
    else:
        files = " or ".join(cifar.cifar_files(name))
    return f"{name}.npz ({', '.join(npz.NPZ_KEYS)}) or {files}"


def _download(name: str, looked: str) -> Arrays:
    # Keras sets no timeout, so behind a firewall that drops packets it would wait for minutes.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        parts = _DOWNLOADS[name].load_data()
    except Exception as error:  # Keras raises a plain Exception if the server does not respond
        debian = "`apt install dataset-fashion-mnist`, " if name == "fmnist" else ""
        raise InputError(
            f"{name} was not found on this machine, and its download failed. {looked} Put one "
            f"of these into a folder and pass that folder as data_dir, {debian}connect to the "
            f"network, or use 'digits', which needs no download. Received: {error}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    (x_train, y_train), (x_test, y_test) = (
        (x.reshape(*x.shape[:3], -1), y.reshape(-1).astype(np.int64)) for x, y in parts
    )
    return x_train, y_train, x_test, y_test
