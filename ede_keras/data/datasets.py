"""Loads a labelled set of images by its name or path."""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ede_keras.data import labels, sources
from ede_keras.data.dataset import Dataset
from ede_keras.data.folders import Layout, find_layout
from ede_keras.data.formats import Arrays, npz
from ede_keras.data.images.files import find_size, load_images
from ede_keras.errors import InputError
from ede_keras.utils import scratch
from ede_keras.utils.files import StrPath

_DEFAULT_PROTOCOL = {
    "digits": "split80",
    "mnist": "split80",
    "fmnist": "split80",
    "cifar10": "official",
    "cifar100": "cifar100_siblings",
    "cifar100_coarse": "official",
    "coil100": "coil30",
}
BUILT_IN = tuple(_DEFAULT_PROTOCOL)
_FOLDER_SIZE = (32, 32)  # the size that the paper's networks are built for


def load_dataset(
    dataset: str,
    data_dir: StrPath | None = None,
    image_shape: Sequence[int | None] | None = None,
    need_labels: bool = True,
    strict: bool = False,
    layout: str | None = None,
    verbose: int = 0,
) -> Dataset:
    """Loads a built-in dataset, an `.npz` file or a folder of images.

    Args:
        dataset: A name in `BUILT_IN`, or the path of an `.npz` file (see `npz.read_npz`) or of a
            folder (see `folders.find_layout`).
        data_dir: For built-in datasets: the only folder to search for the files. Default: search
            Keras's cache, then download (see `sources.find_arrays`).
        image_shape: For folders: `(height, width, channels)` of the images, by default 32 x 32. If
            height and width are None, those of the first image are taken. If channels is None, it
            is 1 if all images show only grey, whatever the number of channels in their files, and
            3 otherwise.
        need_labels: Whether an `.npz` file without labels is refused.
        strict: Whether a folder with damaged images is refused. If False, these images are left
            out, with a warning.
        layout: For folders: one of `folders.LAYOUTS`. Default: recognised by the subfolders.
        verbose: 1 shows a progress bar while a folder is read, 0 does not.

    Returns:
        The dataset. uint8 images stay uint8. The images of a folder are stored on disk (see
        `scratch.store`).

    Raises:
        InputError: The dataset was not found, or cannot be used.

    Example:
        >>> load_dataset("digits").x_train.shape
        (1797, 8, 8, 1)

    Reference: Jia & Liu 2023, Section 4.
    """
    if dataset in BUILT_IN:
        return _load_built_in(dataset, data_dir)
    path = Path(dataset).expanduser()
    if path.is_dir():
        return _load_folder(path, find_layout(path, layout), image_shape, strict, verbose)
    if path.suffix == ".npz" and path.is_file():
        arrays = npz.read_npz(path, need_labels)
        names = {label: str(label) for label in _find_labels(arrays)}
        return Dataset(path.stem, *arrays, names, str(path), "official", has_names=False)
    raise InputError(
        f"dataset must be one of {', '.join(BUILT_IN)}, the path of an existing .npz file, or the "
        f"path of an existing folder of images. Received: {dataset!r}"
    )


def list_folder(folder: StrPath, layout: str | None = None) -> Dataset:
    """Lists the files of a folder in the form of a dataset, without reading them.

    Args:
        folder: An existing folder of images.
        layout: One of `folders.LAYOUTS`. Default: recognised by the subfolders.

    Returns:
        The dataset as from `load_dataset`, except that `x_train` and `x_test` hold the paths of
        the files instead of images: object arrays `(n,)` of `pathlib.Path`.

    Raises:
        InputError: The folder does not have that layout, or cannot be read.
    """
    folder = Path(folder).expanduser()
    found = find_layout(folder, layout)
    train, test = (np.array([folder / file for file in part], object) for part in found.parts)
    return _build_folder(folder, found, train, test)


def resolve_normal(dataset: Dataset, normal: str | int) -> int:
    """Returns the label of the normal class.

    Args:
        dataset: The dataset.
        normal: Name of a class, in upper or lower case, or its label, as a number or a string. If
            it matches a name and a label, the name counts. For folders whose layout determines the
            normal class, "good" works as well.

    Returns:
        The label.

    Raises:
        InputError: There is no such class, or the layout of the folder makes another one normal.

    Example:
        >>> resolve_normal(load_dataset("cifar10"), "Cat")
        3
    """
    names = dataset.class_names
    wanted = str(normal).lower()
    same_name = [label for label, name in names.items() if name.lower() == wanted]
    same_label = [label for label in names if str(label) == wanted]
    matches = same_name + same_label
    if dataset.has_fixed_normal:
        if wanted == "good" or 0 in matches:
            return 0
        raise InputError(
            f"By the layout of the folder {dataset.source}, the class {names[0]!r} is normal: "
            "leave normal out, or use a folder with one subfolder per class, without train/ and "
            f"test/. Received: normal={normal!r}"
        )
    if not matches:
        raise InputError(
            f"normal must be a class of {dataset.name}: {list_classes(dataset)}. "
            f"Received: {normal!r}"
        )
    return matches[0]


def list_classes(dataset: Dataset) -> str:
    """Lists the classes in one line for messages.

    Args:
        dataset: The dataset.

    Returns:
        Labels and names, such as "0 airplane, 1 automobile". Labels without names stand alone.
    """
    return ", ".join(
        str(label) if name == str(label) else f"{label} {name}"
        for label, name in dataset.class_names.items()
    )


def _load_built_in(name: str, data_dir: StrPath | None) -> Dataset:
    if name == "digits":
        arrays, source = _load_digits()
    else:
        arrays, source = sources.find_arrays(name.removesuffix("_coarse"), data_dir)
    names = labels.class_names(name.removesuffix("_coarse"))
    present = _find_labels(arrays)
    if unknown := [label for label in present if label not in names]:
        raise InputError(
            f"{source} must hold the labels {min(names)} to {max(names)} of {name}. "
            f"Received: {unknown[0]}"
        )
    if name == "coil100":  # people often have a part of the objects; list only these
        names = {label: names[label] for label in present}
    if name == "cifar100_coarse":
        coarse = np.array([labels.cifar100_superclass(fine) for fine in names])
        arrays = arrays[0], coarse[arrays[1]], arrays[2], coarse[arrays[3]]
        names = labels.class_names(name)
    return Dataset(name, *arrays, names, source, _DEFAULT_PROTOCOL[name])


def _load_digits() -> tuple[Arrays, str]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = (bunch.images[..., None] * (255 / 16)).astype(np.float32)
    y = bunch.target.astype(np.int64)
    return (x, y, x[:0], y[:0]), "scikit-learn's load_digits"


def _find_labels(arrays: Arrays) -> list[int]:
    """Lists the labels of both parts in ascending order."""
    _, y_train, _, y_test = arrays
    return np.unique(np.concatenate([y_train, y_test])).tolist()


def _load_folder(
    folder: Path,
    layout: Layout,
    image_shape: Sequence[int | None] | None,
    strict: bool,
    verbose: int,
) -> Dataset:
    height, width, channels = image_shape or (*_FOLDER_SIZE, None)
    if height is None or width is None:
        height, width = find_size(next(folder / file for part in layout.parts for file in part))
    images, intact, damaged = [], [], []
    for part in layout.parts:
        paths = [folder / file for file in part]
        loaded, broken = load_images(paths, (height, width, channels or 3), verbose)
        images.append(loaded)
        states = list(zip(part, broken, strict=True))
        intact.append({file: part[file] for file, is_broken in states if not is_broken})
        damaged += [file for file, is_broken in states if is_broken]
    if damaged:
        _report_damaged(folder, damaged, strict or not any(intact))
    if channels is None and all(_is_grey(image) for part in images for image in part):
        shape = (height, width, 1)
        images = [scratch.store((i[..., :1] for i in part), shape, np.uint8) for part in images]
    layout = dataclasses.replace(layout, train=intact[0], test=intact[1])
    return _build_folder(folder, layout, images[0], images[1], tuple(damaged))


def _is_grey(image: np.ndarray) -> bool:
    return bool((image == image[..., :1]).all())


def _report_damaged(folder: Path, damaged: list[str], refuse: bool) -> None:
    """Raises an error, or warns, about damaged files."""
    named = ", ".join(damaged[:5]) + (", ..." if len(damaged) > 5 else "")
    if refuse:
        raise InputError(
            f"Every image in {folder} must be a complete image file. Replace or remove the damaged "
            "ones, or load the folder without strict to leave them out. "
            f"Received: {len(damaged)} damaged, {named}"
        )
    warnings.warn(
        f"{len(damaged)} images in {folder} are damaged and left out: {named}", stacklevel=4
    )


def _build_folder(
    folder: Path,
    layout: Layout,
    x_train: np.ndarray,
    x_test: np.ndarray,
    damaged: tuple[str, ...] = (),
) -> Dataset:
    y_train, y_test = (np.array(list(part.values()), np.int64) for part in layout.parts)
    return Dataset(
        folder.resolve().name,
        x_train,
        y_train,
        x_test,
        y_test,
        layout.class_names,
        str(folder),
        layout.default_protocol,
        paths_train=np.array(list(layout.train), str),
        paths_test=np.array(list(layout.test), str),
        is_folder=True,
        layout=layout.name,
        damaged=damaged,
    )
