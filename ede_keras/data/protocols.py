"""Splits a dataset into normal images to train on, and images to test on."""

import dataclasses

import numpy as np

from ede_keras.choices import PROTOCOLS
from ede_keras.data import labels
from ede_keras.data.dataset import Dataset
from ede_keras.data.datasets import list_classes, resolve_normal
from ede_keras.data.mask_files import Masks
from ede_keras.errors import InputError
from ede_keras.utils import scratch
from ede_keras.utils.hold_out import count_held_out

# A separate random stream for each decision: a change of one rule does not affect the others.
_NORMALS, _ANOMALIES, _VALIDATION, _OBJECT = range(4)


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of one experiment, with their pixels as stored, in 0-255.

    Args:
        x_train: Normal training images `(n, height, width, channels)`.
        x_val: Normal images held out of training, for validation and calibration.
        x_test: Test images.
        y_test: int32 `(n,)`, 1 = anomalous, 0 = normal.
        test_ids: Which image each test image is. For folders: its file, relative to the folder.
            Otherwise: its position in the test part (protocols "official" and
            "cifar100_siblings"), or in the training part followed by the test part ("split80" and
            "coil30").
        normal: Label of the normal class, or "good" if the folder's layout determines it.
        normal_name: Name of the normal class.
        masks: For folders: the masks of test images, and possibly of others.
    """

    x_train: np.ndarray
    x_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    test_ids: np.ndarray
    normal: int | str
    normal_name: str
    masks: Masks | None = None


def make_split(
    dataset: Dataset, protocol: str | None = None, normal: str | int | None = None, seed: int = 0
) -> Split:
    """Splits a dataset for one-class learning.

    Some of the normal training images are held out as `x_val`: a tenth, but at least 32; of
    fewer than 160 a fifth, but at least 4 and at most half.

    Args:
        dataset: The labelled images.
        protocol: One of `choices.PROTOCOLS`. Default: `dataset.default_protocol`.
        normal: Label or name of the normal class. Optional for folders whose layout determines it,
            and for "coil30", where the seed selects it.
        seed: Non-negative integer. The same seed gives exactly the same split.

    Returns:
        The split.

    Raises:
        InputError: The dataset does not have this protocol or class, the class has fewer than 2
            training images, or the seed is negative.

    Example:
        >>> split = make_split(load_dataset("digits"), normal=3)
        >>> split.x_train.shape, split.y_test.mean()
        ((114, 8, 8, 1), 0.5)

    Reference: Jia & Liu 2023, Section 4.
    """
    if seed < 0:
        raise InputError(f"seed must not be negative. Received: {seed}")
    protocol = _check_protocol(dataset, protocol or dataset.default_protocol)
    label = _find_normal(dataset, protocol, normal, seed)
    train, test = _RULES[protocol](dataset, label, seed)
    train, val = _hold_out(dataset, train, label, seed)
    if not len(test):
        raise InputError(
            f"{dataset.name} must have images to test on. Use the protocol 'split80'. "
            f"Received: no test images for the protocol {protocol!r}"
        )
    x_train, x_val, x_test = (_select_images(dataset, ids) for ids in (train, val, test))
    paths = [part for part in (dataset.paths_train, dataset.paths_test) if part is not None]
    if paths:
        test_ids = np.concatenate(paths)[test]
    else:
        test_ids = test if protocol in _POOLED else test - len(dataset.x_train)
    return Split(
        x_train,
        x_val,
        x_test,
        y_test=(_pooled_labels(dataset)[test] != label).astype(np.int32),
        test_ids=test_ids,
        normal="good" if dataset.has_fixed_normal else label,
        normal_name=dataset.class_names[label],
        masks=dataset.masks,
    )


def whole_set(
    dataset: Dataset, normal: int | str | None, normal_name: str
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Selects the images to score in a dataset other than the one a model was trained on.

    Args:
        dataset: The dataset. Its test part is taken, or all images if it has no test part.
        normal: Normal class of the dataset that the model was trained on: a label, "good" or None.
            It is compared only with classes that have no names, because equal labels of two
            datasets can mean different things.
        normal_name: Name of that class. The class of the same name is normal here.

    Returns:
        `(images, true_labels, ids)`. `true_labels` is int32 `(n,)`, 1 = anomalous, 0 = normal; it
        is None if the normal images are not known, as for a folder without classes, an `.npz` file
        without labels, or a dataset without that class. `ids` are the files of a folder, or else
        the positions of the images.
    """
    in_test = len(dataset.x_test) > 0
    images = dataset.x_test if in_test else dataset.x_train
    classes = dataset.y_test if in_test else dataset.y_train
    paths = dataset.paths_test if in_test else dataset.paths_train
    ids = np.arange(len(images)) if paths is None else paths
    label = _label_of_normal(dataset, normal, normal_name)
    is_known = label is not None and len(classes) == len(images)
    return images, (classes != label).astype(np.int32) if is_known else None, ids


def _label_of_normal(dataset: Dataset, normal: int | str | None, normal_name: str) -> int | None:
    if dataset.has_fixed_normal:
        return 0 if dataset.knows_normal else None
    names = {name.lower(): label for label, name in dataset.class_names.items()}
    same_label = next((label for label in dataset.class_names if label == normal), None)
    return names.get(normal_name.lower(), None if dataset.has_names else same_label)


# Each protocol returns the positions of the normal training images and of the test images.
# Positions count through the training part, then the test part.


def _split80(dataset: Dataset, label: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Protocol 1, which pools both parts of the dataset.

    80% of the normal class, rounded down, is for training. The rest is for testing, together with
    the same number of anomalies, drawn from all other classes (all of them if there are fewer).
    """
    is_normal = _pooled_labels(dataset) == label
    normals = _rng(seed, _NORMALS).permutation(np.flatnonzero(is_normal))
    train, held_out = np.split(normals, [len(normals) * 8 // 10])
    others = np.flatnonzero(~is_normal)
    n = min(len(held_out), len(others))
    anomalies = _rng(seed, _ANOMALIES).choice(others, n, replace=False)
    return np.sort(train), np.sort(np.concatenate([held_out, anomalies]))


def _official(dataset: Dataset, label: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Protocol 2: trains on the normal class of the training part, tests on the whole test part."""
    n_train = len(dataset.x_train)
    test = np.arange(n_train, n_train + len(dataset.x_test))
    return np.flatnonzero(dataset.y_train == label), test


def _cifar100_siblings(dataset: Dataset, label: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Like "official", but tests only on the five classes in the normal class's superclass."""
    train, test = _official(dataset, label, seed)
    family = labels.cifar100_fine_labels(labels.cifar100_superclass(label))
    return train, test[np.isin(dataset.y_test, family)]


# "coil30" is "split80" for one object, which the seed selects; the paper's 30 runs are the seeds
# 0-29.
_RULES = dict(zip(PROTOCOLS, (_split80, _official, _cifar100_siblings, _split80), strict=True))
_POOLED = ("split80", "coil30")


def _check_protocol(dataset: Dataset, protocol: str) -> str:
    allowed = ["split80"]
    if len(dataset.x_test):
        allowed.append("official")
    if dataset.default_protocol not in ("split80", "official"):
        allowed.append(dataset.default_protocol)
    if protocol not in allowed:
        no_test = "" if len(dataset.x_test) else " (it has no test part, which 'official' needs)"
        raise InputError(
            f"protocol must be one of {', '.join(allowed)} for {dataset.name}{no_test}. "
            f"Received: {protocol!r}"
        )
    return protocol


def _find_normal(dataset: Dataset, protocol: str, normal: str | int | None, seed: int) -> int:
    if normal is not None:
        return resolve_normal(dataset, normal)
    if dataset.has_fixed_normal:
        return 0
    if protocol == "coil30":
        return int(_rng(seed, _OBJECT).choice(list(dataset.class_names)))
    raise InputError(
        f"normal must name the normal class of {dataset.name}: {list_classes(dataset)}. "
        "Received: None"
    )


def _hold_out(
    dataset: Dataset, train: np.ndarray, label: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits the training positions into those to train on and those to hold out."""
    n = len(train)
    if n < 2:
        raise InputError(
            f"The normal class {dataset.class_names[label]!r} of {dataset.name} must have at least "
            f"2 images to train on, because one of them is held out. Received: {n}"
        )
    val, rest = np.split(_rng(seed, _VALIDATION).permutation(train), [count_held_out(n)])
    return np.sort(rest), np.sort(val)


def _pooled_labels(dataset: Dataset) -> np.ndarray:
    return np.concatenate([dataset.y_train, dataset.y_test])


def _select_images(dataset: Dataset, ids: np.ndarray) -> np.ndarray:
    """Copies the images at these positions, without pooling the two parts first."""
    n_train = len(dataset.x_train)
    shape, dtype = dataset.x_train.shape[1:], dataset.x_train.dtype
    if dataset.is_folder:  # stored on disk, so the selection is too
        parts = (
            (dataset.x_train, i) if i < n_train else (dataset.x_test, i - n_train) for i in ids
        )
        return scratch.store((images[i] for images, i in parts), shape, dtype)
    images = np.empty((len(ids), *shape), dtype)
    in_test = ids >= n_train
    images[~in_test] = dataset.x_train[ids[~in_test]]
    images[in_test] = dataset.x_test[ids[in_test] - n_train]
    return images


def _rng(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream])
