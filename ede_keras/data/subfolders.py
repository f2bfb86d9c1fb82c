"""What the names of subfolders mean: parts, normal classes, anomalies, folders around a set."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ede_keras.data.mask_files import MASK_FOLDERS
from ede_keras.errors import InputError

# Names of the normal class, in upper or lower case, with or without a number: "OK", "0.normal".
NORMAL_NAMES = ("good", "normal", "ok")
# First words of the names of the parts.
TRAIN, TEST = ("train", "training", "trainset"), ("test", "testing", "testset")
VALIDATION = ("val", "valid", "validation", "eval", "evaluation")
# Words of folders that hold anomalies. One of them below a class is not taken for normal.
_ANOMALOUS = {
    *("anomalies", "anomalous", "anomaly", "abnormal", "bad", "broken", "damaged", "def"),
    *("defect", "defective", "defects", "fail", "failed", "fault", "faulty", "ko", "ng", "nok"),
    *("outlier", "outliers", "reject", "rejected", "rejects", "scrap"),
}


def is_normal_name(name: str) -> bool:
    """Whether this is a name of a normal class: one of `NORMAL_NAMES`, in any case or numbered."""
    return re.sub(r"^[\d\W_]+|[\d\W_]+$", "", name.lower()) in NORMAL_NAMES


def begins_with(name: str, words: Sequence[str]) -> bool:
    """Whether the first word of a folder's name is one of these."""
    return re.split(r"[^a-z]+", name.lower())[0] in words


def group_files(files: Iterable[str], depth: int = 0) -> dict[str, list[str]]:
    """The files by the name of the folder at a depth of their path; "" if they lie above it."""
    groups: dict[str, list[str]] = {}
    for file in files:
        parts = Path(file).parts
        groups.setdefault(parts[depth] if len(parts) > depth + 1 else "", []).append(file)
    return dict(sorted(groups.items()))


def find_wrapper(files: Iterable[str], normal: str | None = None) -> str:
    """The folders around a whole data set, as in archives: "archive/fruits/".

    Args:
        files: All image files, with "/" as separator.
        normal: Name of the normal class, if the user gave it.

    Returns:
        The folders, each of which holds nothing but the next one, down to one with several
        subfolders, a part or a normal class; empty if there are none.
    """
    files, wrapper = list(files), ""
    groups = group_files(files)
    while len(groups) == 1:
        (name,) = groups
        is_normal = is_normal_name(name) or (normal is not None and name.lower() == normal.lower())
        if not name or is_normal or begins_with(name, (*TRAIN, *TEST, *VALIDATION)):
            break
        wrapper += f"{name}/"
        groups = group_files(files, wrapper.count("/"))
    return "" if "" in groups else wrapper


def check_nested(folder: Path, groups: dict[str, list[str]], depth: int) -> None:
    """Refuses subfolders of a class that may hold images of another class."""
    for group, files in groups.items():
        below = group_files(files, depth)
        deep = {part for file in files for part in Path(file).parts[depth:-1]}
        odd = sorted(
            part
            for part in deep
            if is_normal_name(part)
            or part.lower() in MASK_FOLDERS
            or {*re.split(r"[^a-z]+", part.lower())} & _ANOMALOUS
        )
        if odd or ("" in below and len(below) > 1):
            what = f"{odd[0]}/" if odd else next(f"{sub}/" for sub in below if sub)
            raise InputError(
                f"Expected the images of one class in {folder / group}, but it is unclear what its "
                "subfolder holds: move it beside the class, give it a name of its own in train/ "
                "or test/, or choose --layout=normals or classes, if its images belong to the "
                f"class. Received: {what}"
            )


def describe_nested(groups: dict[str, list[str]]) -> tuple[str, ...]:
    """A note on subfolders that are read as a part of their class."""
    nested = sum(len(Path(file).parts) > 2 for files in groups.values() for file in files)
    return (f"{nested} images in nested subfolders belong to their class",) * (nested > 0)
