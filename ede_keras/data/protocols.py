"""Class labels -> one-class splits: which images train, which are held out, which test."""

import dataclasses

import numpy as np

from ede_keras.data import labels
from ede_keras.data.datasets import Dataset, list_classes, resolve_normal
from ede_keras.errors import InputError
from ede_keras.utils import scratch

# A stream of random numbers per decision: changing one rule leaves the others' draws alone.
_NORMALS, _ANOMALIES, _VALIDATION, _OBJECT = range(4)


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of one experiment; all as stored, in 0-255.

    Args:
        x_train: Normal images to train on (n, h, w, c).
        x_val: Normal images held out of training, for validation and calibration.
        x_test: Images to test on.
        y_test: int32 (n,), 1 = anomalous, 0 = normal.
        test_ids: Which images `x_test` holds: of a folder their files; else their positions, in
            the test part for "official" and "cifar100_siblings", in the training part followed by
            the test part for "split80" and "coil30".
        normal: Label of the normal class, or "good" if the folder's layout says what is normal.
        normal_name: Its name.
    """

    x_train: np.ndarray
    x_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    test_ids: np.ndarray
    normal: int | str
    normal_name: str


def make_split(
    dataset: Dataset, protocol: str | None = None, normal: str | int | None = None, seed: int = 0
) -> Split:
    """One normal class to learn, and images to test on.

    Of the normal training images a tenth, but at least 32 and at most half, is held out as
    `x_val`.

    Args:
        dataset: The labelled images.
        protocol: One of `PROTOCOLS`, by default the data set's own.
        normal: Label or name of the normal class. Needed, except for folders whose layout says
            it, and for "coil30", where the seed draws it.
        seed: Not negative; the same seed gives exactly the same split.

    Returns:
        The split.

    Raises:
        InputError: protocol, class or seed cannot be used with this data set, or the class has
            fewer than 2 training images.

    Example:

    >>> split = make_split(load_dataset("digits"), normal=3)
    >>> split.x_train.shape, split.y_test.mean()
    ((114, 8, 8, 1), 0.5)

    Reference: Jia & Liu 2023, Section 4.
    """
    if seed < 0:
        raise InputError(f"seed must not be negative. Received: {seed}")
    protocol = _check_protocol(dataset, protocol or dataset.default_protocol)
    label = _choose_normal(dataset, protocol, normal, seed)
    train, test = _RULES[protocol](dataset, label, seed)
    if not len(test):
        raise InputError(
            f"{dataset.name} must have images to test on. Received: none by protocol {protocol!r}; "
            "use 'split80'"
        )
    train, val = _hold_out(dataset, train, label, seed)
    x_train, x_val, x_test = (_take(dataset, ids) for ids in (train, val, test))
    if dataset.is_folder:
        test_ids = np.concatenate([dataset.paths_train, dataset.paths_test])[test]
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
    )


def whole_set(dataset: Dataset, normal: int | str, normal_name: str):
    """All there is to score in a set that the model was not made for.

    Args:
        dataset: the images; those of its test part, or all if it has none.
        normal: the normal class of the model's own data set, a label or "good".
        normal_name: its name, by which it is looked for. Its label counts only among labels that
            have no names: equal numbers of two sets with names mean different things.

    Returns:
        `(images, true_labels, ids)`: `true_labels` int32, 1 = anomalous, or None where nothing
        says which images are normal: a plain folder, an `.npz` without labels, or a set that has
        no such class. `ids` are the folder's files, else positions.
    """
    in_test = len(dataset.x_test) > 0
    images = dataset.x_test if in_test else dataset.x_train
    classes = dataset.y_test if in_test else dataset.y_train
    paths = dataset.paths_test if in_test else dataset.paths_train
    ids = paths if dataset.is_folder else np.arange(len(images))
    label = _label_of_normal(dataset, normal, normal_name)
    is_known = label is not None and len(classes) == len(images)
    return images, (classes != label).astype(np.int32) if is_known else None, ids


def _label_of_normal(dataset, normal, normal_name):
    if dataset.has_fixed_normal:
        return 0 if dataset.default_protocol == "official" else None
    names = {name.lower(): label for label, name in dataset.class_names.items()}
    by_label = normal if not dataset.has_names and normal in dataset.class_names else None
    return names.get(normal_name.lower(), by_label)


# The rules: each returns the positions of the normal training images and of the test images, in
# the training part followed by the test part.


def _split80(dataset, label, seed):
    """Protocol 1: both parts of the source are pooled. 80 % of the normal class, rounded down,
    trains; the others test, with as many anomalies, drawn from all other classes (all of them if
    there are fewer).
    """
    is_normal = _pooled_labels(dataset) == label
    normals = _rng(seed, _NORMALS).permutation(np.flatnonzero(is_normal))
    train, held_out = np.split(normals, [len(normals) * 8 // 10])
    others = np.flatnonzero(~is_normal)
    n = min(len(held_out), len(others))
    anomalies = _rng(seed, _ANOMALIES).choice(others, n, replace=False)
    return np.sort(train), np.sort(np.concatenate([held_out, anomalies]))


def _official(dataset, label, seed):
    """Protocol 2: the normal class of the training part trains; the whole test part tests."""
    n_train = len(dataset.x_train)
    test = np.arange(n_train, n_train + len(dataset.x_test))
    return np.flatnonzero(dataset.y_train == label), test


def _cifar100_siblings(dataset, label, seed):
    """CIFAR-100: as "official", but only the five classes of the normal one's superclass test."""
    train, test = _official(dataset, label, seed)
    family = labels.cifar100_fine_labels(labels.cifar100_superclass(label))
    return train, test[np.isin(dataset.y_test, family)]


_RULES = {
    "split80": _split80,
    "official": _official,
    "cifar100_siblings": _cifar100_siblings,
    # "split80" on one object; the paper's 30 repeats are the seeds 0-29, which draw the object.
    "coil30": _split80,
}
PROTOCOLS = tuple(_RULES)
_POOLED = ("split80", "coil30")


def _check_protocol(dataset, protocol):
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


def _choose_normal(dataset, protocol, normal, seed):
    if normal is not None:
        return resolve_normal(dataset, normal)
    if dataset.has_fixed_normal:
        return 0
    if protocol == "coil30":
        return int(_rng(seed, _OBJECT).choice(list(dataset.class_names)))
    raise InputError(
        f"normal must name the normal class of {dataset.name}: {list_classes(dataset)}. "
        f"Received: None"
    )


def _hold_out(dataset, train, label, seed):
    n = len(train)
    if n < 2:
        raise InputError(
            f"The normal class {dataset.class_names[label]!r} of {dataset.name} must have at least "
            f"2 images to train on, one of them to be held out. Received: {n}"
        )
    n_val = min(max(n // 10, 32), n // 2)
    val, rest = np.split(_rng(seed, _VALIDATION).permutation(train), [n_val])
    return np.sort(rest), np.sort(val)


def _pooled_labels(dataset):
    return np.concatenate([dataset.y_train, dataset.y_test])


def _take(dataset, ids):
    """The images at these positions, without a copy of the pooled whole."""
    n_train = len(dataset.x_train)
    shape, dtype = dataset.x_train.shape[1:], dataset.x_train.dtype
    if dataset.is_folder:  # on disk, and so is this
        parts = (
            (dataset.x_train, i) if i < n_train else (dataset.x_test, i - n_train) for i in ids
        )
        return scratch.store((images[i] for images, i in parts), shape, dtype)
    images = np.empty((len(ids), *shape), dtype)
    in_test = ids >= n_train
    images[~in_test] = dataset.x_train[ids[~in_test]]
    images[in_test] = dataset.x_test[ids[in_test] - n_train]
    return images


def _rng(seed, stream):
    return np.random.default_rng([seed, stream])
