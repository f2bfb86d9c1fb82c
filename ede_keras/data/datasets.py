"""A name or a path -> one labelled set of images, pixels in 0-255."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np

from ede_keras.data import labels, sources
from ede_keras.data.folders import find_layout
from ede_keras.data.formats import npz
from ede_keras.data.images.files import find_size, load_images
from ede_keras.errors import InputError
from ede_keras.utils import scratch

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
_FOLDER_SIZE = (32, 32)  # the paper's networks are built for 32 x 32


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with class labels, in the publisher's training and test part.

    Args:
        name: Built-in name, stem of the `.npz`, or name of the folder.
        x_train: Images (n, h, w, c), c 1 or 3, uint8 or float32 in 0-255.
        y_train: Class labels (n,), int64; these are classes, not yet normal or anomalous. Empty
            where an `.npz` has none.
        x_test: As `x_train`; empty for sources that have one part only.
        y_test: As `y_train`.
        class_names: Label -> name, in the order of the labels.
        source: Where it was read from.
        default_protocol: One of `ede_keras.data.protocols.PROTOCOLS`.
        paths_train: Of a folder: file of each image, relative to the folder.
        paths_test: As `paths_train`.
        is_folder: Whether it was read from a folder of images.
        layout: Of a folder: one of `folders.LAYOUTS`.
        damaged: Of a folder: files that are left out, for they are no whole images.
        has_names: Whether its classes have names, not numbers alone as in an `.npz` of one's own.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: dict[int, str]
    source: str
    default_protocol: str
    paths_train: np.ndarray | None = None
    paths_test: np.ndarray | None = None
    is_folder: bool = False
    layout: str | None = None
    damaged: tuple[str, ...] = ()
    has_names: bool = True

    @property
    def has_fixed_normal(self) -> bool:
        """Whether it is a folder whose layout itself says that label 0 is the normal class."""
        return self.is_folder and (
            self.default_protocol == "official" or len(self.class_names) == 1
        )


def load_dataset(
    dataset: str,
    data_dir: str | None = None,
    image_shape=None,
    need_labels: bool = True,
    strict: bool = False,
    layout: str | None = None,
    verbose: int = 0,
) -> Dataset:
    """A built-in data set, an `.npz` file or a folder of images.

    Args:
        dataset: A name in `BUILT_IN`, else the path of an `.npz` file (see `npz.read_npz`)
            or of a folder (see `folders.find_layout`).
        data_dir: The only folder to search for the files of a built-in set, or None for Keras's
            cache and a download (see `sources.find_arrays`).
        image_shape: (height, width, channels) of the images of a folder, by default 32 x 32;
            height and width None: those of its first image. Channels None, and by default: one
            if all images are grey, though their files may have three, else three.
        need_labels: Whether an `.npz` file without labels is refused.
        strict: Whether a folder with damaged images is refused; otherwise they are left out, with
            a warning.
        layout: Of a folder, one of `folders.LAYOUTS`; by default recognised.
        verbose: 1 shows how far the reading of a folder is.

    Returns:
        The images as they were stored: no float copy is made of bytes. Those of a folder lie on
        disk, see `scratch.store`.

    Raises:
        InputError: Found nowhere, or unusable.

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
        found = np.unique(np.concatenate([arrays[1], arrays[3]])).tolist()
        names = {label: str(label) for label in found}
        return Dataset(path.stem, *arrays, names, str(path), "official", has_names=False)
    raise InputError(
        f"dataset must be one of {', '.join(BUILT_IN)}, the path of an existing .npz file, or the "
        f"path of an existing folder of images. Received: {dataset!r}"
    )


def list_folder(folder, layout: str | None = None) -> Dataset:
    """A folder of images as `load_dataset` takes it, undecoded: its `x_train` and `x_test` are
    the files' paths."""
    folder = Path(folder).expanduser()
    layout = find_layout(folder, layout)
    paths = (np.array([folder / file for file in part], object) for part in layout.parts)
    return _build_folder(folder, layout, *paths)


def resolve_normal(dataset: Dataset, normal: str | int) -> int:
    """The label of the normal class.

    Args:
        dataset: The data set.
        normal: Name of a class in upper or lower case, or its label as a number or a string. A
            name goes before a label. Folders whose layout says what is normal also take "good".

    Returns:
        The label.

    Raises:
        InputError: No such class, or not the class that the folder's layout says is normal.

    Example:

    >>> resolve_normal(load_dataset("cifar10"), "Cat")
    3
    """
    names = dataset.class_names
    wanted = str(normal).lower()
    same_name = [label for label, name in names.items() if name.lower() == wanted]
    same_label = [label for label in names if str(label) == wanted]
    if dataset.has_fixed_normal:
        if wanted == "good" or 0 in same_name + same_label:
            return 0
        raise InputError(
            f"The layout of the folder {dataset.source} says that {names[0]!r} is normal: leave "
            f"normal out, or give one folder per class without train/ and test/. "
            f"Received: normal={normal!r}"
        )
    if not same_name + same_label:
        raise InputError(
            f"normal must be a class of {dataset.name}: {list_classes(dataset)}. "
            f"Received: {normal!r}"
        )
    return (same_name + same_label)[0]


def list_classes(dataset: Dataset) -> str:
    """The classes as one line for messages, such as "0 airplane, 1 automobile"."""
    return ", ".join(
        str(label) if name == str(label) else f"{label} {name}"
        for label, name in dataset.class_names.items()
    )


def _load_built_in(name, data_dir):
    if name == "digits":
        arrays, source = _digits()
    else:
        arrays, source = sources.find_arrays(name.removesuffix("_coarse"), data_dir)
    names = labels.class_names(name.removesuffix("_coarse"))
    present = np.unique(np.concatenate([arrays[1], arrays[3]])).tolist()
    if unknown := [label for label in present if label not in names]:
        raise InputError(
            f"{source} must hold the labels {min(names)} to {max(names)} of {name}. "
            f"Received: {unknown[0]}"
        )
    if name == "coil100":  # often a part of the objects is enough; offer no absent ones
        names = {label: names[label] for label in present}
    if name == "cifar100_coarse":
        coarse = np.array([labels.cifar100_superclass(fine) for fine in names])
        arrays = arrays[0], coarse[arrays[1]], arrays[2], coarse[arrays[3]]
        names = labels.class_names(name)
    return Dataset(name, *arrays, names, source, _DEFAULT_PROTOCOL[name])


def _digits():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = (bunch.images[..., None] * (255 / 16)).astype(np.float32)
    y = bunch.target.astype(np.int64)
    return (x, y, x[:0], y[:0]), "scikit-learn's load_digits"


def _load_folder(folder, layout, image_shape, strict, verbose):
    parts = layout.parts
    height, width, channels = image_shape or (*_FOLDER_SIZE, None)
    if height is None:
        height, width = find_size(next(folder / file for part in parts for file in part))
    images, whole, damaged = [], [], []
    for part in parts:
        paths = [folder / file for file in part]
        loaded, broken = load_images(paths, (height, width, channels or 3), verbose)
        images.append(loaded)
        states = list(zip(part, broken, strict=True))
        whole.append({file: part[file] for file, is_broken in states if not is_broken})
        damaged += [file for file, is_broken in states if is_broken]
    if damaged:
        _tell_damaged(folder, damaged, strict or not any(whole))
    if channels is None and all(_is_grey(image) for part in images for image in part):
        shape = (height, width, 1)
        images = [scratch.store((i[..., :1] for i in part), shape, np.uint8) for part in images]
    layout = dataclasses.replace(layout, train=whole[0], test=whole[1])
    return _build_folder(folder, layout, *images, tuple(damaged))


def _is_grey(image):
    return (image == image[..., :1]).all()


def _tell_damaged(folder, damaged, refuse):
    named = ", ".join(damaged[:5]) + (", ..." if len(damaged) > 5 else "")
    if refuse:
        raise InputError(
            f"Every image in {folder} must be a whole image file; replace or remove these, or "
            f"leave them out without strict. Received: {len(damaged)} damaged, {named}"
        )
    warnings.warn(
        f"{len(damaged)} images in {folder} are damaged and left out: {named}", stacklevel=4
    )


def _build_folder(folder, layout, x_train, x_test, damaged=()):
    """The data set of a folder with these images."""
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
