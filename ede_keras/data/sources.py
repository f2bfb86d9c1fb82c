"""Where a built-in data set is found: a given folder, Keras's cache, a Debian package, the net."""

import os
import socket
from pathlib import Path

import keras
import numpy as np

from ede_keras.data.formats import cifar, coil, idx, npz
from ede_keras.errors import InputError

_DEBIAN_FMNIST = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist
_COIL_HOME = "http://www.cs.columbia.edu/CAVE/software/softlib/coil-100.php"
_TIMEOUT = 30  # seconds without an answer after which a download is given up

# Where other programs put the publishers' files; the ones named "-target" are Keras's.
_SUBFOLDERS = {
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


def find_arrays(name: str, data_dir: str | None = None):
    """The arrays of a built-in data set, from the first place that has them.

    Args:
        name: "mnist", "fmnist", "cifar10", "cifar100" or "coil100".
        data_dir: The only folder to search, if given; of CIFAR and COIL-100 it may also be the
            publisher's folder or archive itself. Otherwise Keras's cache (`KERAS_HOME`, by
            default `~/.keras`), then the Debian package of Fashion-MNIST, then a download.

    Returns:
        The four arrays of `npz.read_npz`, and the place as a string.

    Raises:
        InputError: Found nowhere; says what was looked for, where, and what to do.
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
                    f"{error}. A download that was killed leaves such a file in Keras's cache: "
                    "delete it, and it is downloaded again"
                ) from error
            raise
        if found is not None:
            arrays, path = found
            return arrays, str(path)
    looked = f"Looked for {_wanted(name)} in {', '.join(map(str, roots))}."
    if data_dir is not None:
        raise InputError(f"{name} must be in data_dir. {looked} Received: data_dir={data_dir!r}")
    if name == "coil100":
        raise InputError(
            f"coil100 cannot be downloaded from here: get coil-100.zip from {_COIL_HOME} and give "
            f"its folder as data_dir. {looked} Received: dataset='coil100'"
        )
    return _download(name, looked), "download by keras.datasets"


def _roots(folder, name):
    return [folder, folder / name, *(folder / sub for sub in _SUBFOLDERS[name])]


def _read(name, root):
    path = root / f"{name}.npz"
    if path.is_file():
        return npz.read_npz(path), path
    if name in ("mnist", "fmnist"):
        return idx.read_idx_set(root)
    return coil.read_coil(root) if name == "coil100" else cifar.read_cifar(root, name)


def _wanted(name):
    if name in ("mnist", "fmnist"):
        files = ", ".join(f"{file}[.gz]" for file in idx.IDX_FILES)
    elif name == "coil100":
        files = "coil-100/ or coil-100.zip"
    else:
        files = " or ".join(cifar.cifar_files(name))
    return f"{name}.npz ({', '.join(npz.NPZ_KEYS)}) or {files}"


def _download(name, looked):
    # Keras sets no time limit, so behind a silent firewall it would wait for minutes.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        parts = _DOWNLOADS[name].load_data()
    except Exception as error:  # Keras raises bare Exception when a URL does not answer
        debian = "`apt install dataset-fashion-mnist`, " if name == "fmnist" else ""
        raise InputError(
            f"{name} is not on this machine and its download failed. {looked} Put one of these "
            f"into a folder and give it as data_dir, {debian}connect to the network, or use "
            f"'digits', which needs no file. Received: {error}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    (x_train, y_train), (x_test, y_test) = (
        (x.reshape(*x.shape[:3], -1), y.reshape(-1).astype(np.int64)) for x, y in parts
    )
    return x_train, y_train, x_test, y_test
