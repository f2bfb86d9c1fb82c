"""Loads a labelled set of images by its name or path."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ede_keras.choices import DATASETS
from ede_keras.data import folder_images, labels, sources
from ede_keras.data.dataset import Dataset
from ede_keras.data.folders import Layout, find_layout
from ede_keras.data.formats import Arrays, npz
from ede_keras.data.lists import read_list
from ede_keras.data.patterns import as_names, find_chosen
from ede_keras.data.summary import LoadingSummary, describe_dimness
from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath

BUILT_IN = tuple(DATASETS)
_FOLDER_SIZE = (32, 32)  # the size that the paper's networks are built for


def load_dataset(
    dataset: StrPath | Sequence[StrPath],
    data_dir: StrPath | None = None,
    image_shape: Sequence[int | None] | None = None,
    need_labels: bool = True,
    strict: bool = False,
    layout: str | None = None,
    verbose: int = 0,
    normal: str | int | None = None,
    max_value: int | None = None,
    largest_side: int | None = None,
) -> Dataset:
    """Loads a built-in dataset, an `.npz` file or a folder of images.

    Args:
        dataset: A name in `BUILT_IN`, or the path of an `.npz` file (see `npz.read_npz`), of a
            folder (see `folders.find_layout`), of a list (see `lists.read_list`) or of an image.
            Or a pattern, or several paths, of image files (see `patterns.find_chosen`).
        data_dir: For built-in datasets: the only folder to search for the files. Default: search
            Keras's cache, then download (see `sources.find_arrays`).
        image_shape: For folders: `(height, width, channels)` of the images, by default 32 x 32. If
            height and width are None, those of the first image are taken. If channels is None, it
            is 1 if all images show only grey, whatever the number of channels in their files, and
            3 otherwise.
        need_labels: Whether an `.npz` file without labels is refused.
        strict: Whether a folder is refused if a file in it is left out. If False, the dataset's
            `summary` says which ones are, and why.
        layout: For folders: one of `choices.LAYOUTS`. Default: detected from the subfolders.
        verbose: 1 shows a progress bar while a folder is read, 0 does not.
        normal: For folders and lists: the name of the normal class, which helps to detect the
            layout.
        max_value: The value of white in PNG and TIFF files of 16 bits and in an `.npz` of more
            than 8 bits. Default: the smallest of 255, 1023, 4095, 16383 and 65535 that no
            pixel exceeds; for floats 1 or 255.
        largest_side: For folders whose height and width are those of the first image: the most
            that the longer side may have. A larger image is scaled down, in proportion.

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
    wanted = as_names(dataset)
    dataset = wanted[0]
    path = Path(dataset).expanduser()
    if data_dir is not None and dataset not in BUILT_IN:
        raise InputError(
            "`data_dir` is the folder of a built-in data set; leave it out, and pass the whole "
            f"path as the data set. Received: data_dir={str(data_dir)!r} for {dataset}"
        )
    if layout is not None and (dataset in BUILT_IN or path.is_file()):
        raise _no_layout(layout, dataset)
    if dataset in BUILT_IN:
        return _load_built_in(dataset, data_dir)
    if found_files := _find_files(wanted, layout, None if normal is None else str(normal)):
        shape = image_shape or (*_FOLDER_SIZE, None)
        options = folder_images.Options(shape, strict, max_value, verbose, largest_side)
        return folder_images.load_layout(*found_files, options)
    if path.suffix.lower() == ".npz" and path.is_file():
        content = npz.read_scaled_npz(path, need_labels, max_value)
        names = {label: str(label) for label in _find_labels(content.arrays)}
        found = Dataset(
            path.stem,
            *content.arrays,
            names,
            str(path),
            "official",
            has_names=False,
            max_value=content.white,
        )
        return dataclasses.replace(found, summary=_summarize_npz(found, content))
    raise InputError(
        f"dataset must be one of {', '.join(BUILT_IN)}, or the path of an existing .npz file, .csv "
        "list, image file or folder of images. "
        f"Received: {dataset!r}"
    )


def list_folder(
    folder: StrPath | Sequence[StrPath], layout: str | None = None, normal: str | None = None
) -> Dataset:
    """Lists the files of a folder in the form of a dataset, without reading them.

    Args:
        folder: An existing folder of images; or a list of them, an image, a pattern, or several
            paths of images.
        layout: One of `choices.LAYOUTS`. Default: detected from the subfolders.
        normal: As in `load_dataset`.

    Returns:
        The dataset as from `load_dataset`, except that `x_train` and `x_test` hold the paths of
        the files instead of images: object arrays `(n,)` of `pathlib.Path`.

    Raises:
        InputError: The folder does not have that layout, or cannot be read.
    """
    found = _find_files(as_names(folder), layout, normal)
    if not found:
        raise InputError(
            "Expected an existing folder of images, .csv list or image file. "
            f"Received: {as_names(folder)[0]!r}"
        )
    return folder_images.list_layout(*found)


def _find_files(
    names: Sequence[str], layout: str | None = None, normal: str | None = None
) -> tuple[Path, Layout] | None:
    """`(place, layout)` of a folder's or a list's image files, or chosen ones; None for others."""
    if chosen := find_chosen(names):
        if layout is not None:
            raise _no_layout(layout, names[0])
        return chosen
    path = Path(names[0]).expanduser()
    if path.is_dir():
        return path, find_layout(path, layout, normal)
    if path.suffix.lower() == ".csv" and path.is_file():
        return path, read_list(path, normal)
    return None


def _no_layout(layout: str, name: str) -> InputError:
    return InputError(
        "`layout` works only with a folder of images; leave it out. "
        f"Received: layout={layout!r} for {name}"
    )


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
            f"The layout of the folder {dataset.source} makes {names[0]!r} the normal class: leave "
            "`normal` out, or use a folder with one subfolder per class, without train/ and "
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
    found = Dataset(name, *arrays, names, source, DATASETS[name])
    return dataclasses.replace(found, summary=_summarize(found))


def _summarize(dataset: Dataset) -> LoadingSummary:
    """The summary of a data set of arrays."""
    parts = {
        "train": (dataset.x_train, dataset.y_train),
        "test": (dataset.x_test, dataset.y_test),
    }
    classes = {}
    for part, (x, y) in parts.items():
        counts = {name: int((y == label).sum()) for label, name in dataset.class_names.items()}
        if not len(y):
            counts = {"unlabelled": len(x)}
        classes[part] = {name: n for name, n in counts.items() if n}
    facts = {"image_shape": list(dataset.x_train.shape[1:]), "max_value": dataset.max_value}
    notes: tuple[str, ...] = ()
    if dataset.max_value not in (None, 255):
        notes = (f"pixels are scaled: {dataset.max_value} is white (--max_value)",)
    return LoadingSummary(dataset.source, "", classes, {}, notes, facts)


def _summarize_npz(dataset: Dataset, content: npz.ScaledArrays) -> LoadingSummary:
    """The summary of an `.npz` file."""
    summary = _summarize(dataset)
    images = [x for x in (dataset.x_train, dataset.x_test) if len(x)]
    as_read = [min(x.min() for x in images).item(), max(x.max() for x in images).item()]
    facts = {
        "dtype": content.dtype.name,
        "lowest_and_highest_as_stored": list(content.stored_range),
        "lowest_and_highest_as_read": as_read,
    }
    notes = [*summary.notes]
    if content.unused:
        notes.append(f"arrays that are not used: {', '.join(content.unused)}")
    # --max_value is for integers of more than 8 bits.
    has_white = content.dtype.kind in "ui" and content.dtype != np.uint8
    notes += describe_dimness(content.stored_range[1], as_read[1] / 255, has_white)
    return dataclasses.replace(summary, notes=tuple(notes), facts={**summary.facts, **facts})


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
