"""The layout of a folder of images: the part and the class of each file. Reads no pixels."""

import dataclasses
from pathlib import Path

from ede_keras.data.images.files import EXTENSIONS, list_images
from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath

NORMAL_NAMES = ("good", "normal", "0.normal", "ok")
LAYOUTS = {
    "split": "train/ and test/, as in MVTec AD and GANomaly",
    "classes": "a subfolder for each class",
    "normals": "all images are normal",
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """The image files of a folder with their labels.

    Args:
        name: One of `LAYOUTS`.
        train: Training files: path relative to the folder, with "/" as separator, to label.
        test: Test files, as `train`; may be empty.
        class_names: Label to class name.
        default_protocol: One of `ede_keras.data.protocols.PROTOCOLS`.
    """

    name: str
    train: dict[str, int]
    test: dict[str, int]
    class_names: dict[int, str]
    default_protocol: str

    @property
    def parts(self) -> tuple[dict[str, int], dict[str, int]]:
        """`(train, test)`."""
        return self.train, self.test


def find_layout(folder: StrPath, name: str | None = None) -> Layout:
    """Assigns a part and a label to each image file of a folder.

    There are three layouts:

    - "split": The folder has `train/` and `test/`, as in MVTec AD and GANomaly. Label 0 is the
      normal class. It is the only subfolder of `train/`; or, of several, the one with a name in
      `NORMAL_NAMES`; or the images directly in `train/`. The other subfolders are anomalies, with
      labels 1, 2, ... in alphabetical order. Anything beside `train/` and `test/`, such as
      `ground_truth/`, is ignored.
    - "normals": The images are directly in the folder, or in a single subfolder. All are normal
      and have label 0.
    - "classes": There are several subfolders, one per class, with labels 0, 1, ... in alphabetical
      order.

    Args:
        folder: An existing folder. Files that are not images are ignored.
        name: One of `LAYOUTS`. Default: recognised by the subfolders.

    Returns:
        The layout. The files of a class are sorted by path.

    Raises:
        InputError: There are no images, the folder does not have the layout `name`, or the normal
            class cannot be determined.
    """
    folder = Path(folder)
    missing = [part for part in ("train", "test") if not (folder / part).is_dir()]
    if name == "split" and missing:
        raise InputError(
            f"{folder} must have train/ and test/ for layout 'split'. "
            f"Received: no {'/, no '.join(missing)}/"
        )
    if name == "split" or (name is None and not missing):
        return _split_layout(folder)
    classes = _find_classes(folder)
    if not classes:
        raise InputError(
            f"{folder} must hold images ({' '.join(EXTENSIONS)}), directly or in subfolders. "
            "Received: none"
        )
    if name == "normals" or (name is None and ("" in classes or len(classes) == 1)):
        normal = next(iter(classes)) if len(classes) == 1 else ""
        labels = {file: 0 for files in classes.values() for file in files}
        return Layout("normals", labels, {}, {0: normal or "good"}, "split80")
    if "" in classes:
        raise InputError(
            f"{folder} must hold its images in subfolders, one per class, for layout 'classes'. "
            f"Received: {classes[''][0]}"
        )
    names = dict(enumerate(classes))
    labels = {file: label for label, name in names.items() for file in classes[name]}
    return Layout("classes", labels, {}, names, "split80")


def _find_classes(folder: Path, root: Path | None = None) -> dict[str, list[str]]:
    """Maps each subfolder to its files, relative to `root`; "" stands for the folder itself."""
    classes: dict[str, list[str]] = {}
    for path in list_images(folder):
        inside = path.relative_to(folder).parts
        name = inside[0] if len(inside) > 1 else ""
        classes.setdefault(name, []).append(path.relative_to(root or folder).as_posix())
    return dict(sorted(classes.items()))


def _split_layout(folder: Path) -> Layout:
    train, test = (_find_classes(folder / part, folder) for part in ("train", "test"))
    normal = _find_normal_name(folder, list(train))
    if "" in test:
        raise InputError(
            f"{folder / 'test'} must hold its images in subfolders, one per class: the normal ones "
            f"in good/, the others in folders of any other name. Received: {test[''][0]}"
        )
    is_normal = {normal.lower(), *NORMAL_NAMES}
    others = sorted(name for name in {*train, *test} - {normal} if name.lower() not in is_normal)
    labels = {name: 1 + i for i, name in enumerate(others)}
    files_train, files_test = (
        {file: labels.get(name, 0) for name, files in classes.items() for file in files}
        for classes in (train, test)
    )
    names = {0: normal or "good", **dict(enumerate(others, 1))}
    return Layout("split", files_train, files_test, names, "official")


def _find_normal_name(folder: Path, names: list[str]) -> str:
    """Finds the normal class among the subfolders of `train/`."""
    if len(names) == 1:
        return names[0]
    known = [name for name in names if name.lower() in NORMAL_NAMES]
    if "" in names or len(known) != 1:
        raise InputError(
            f"{folder / 'train'} must hold normal images: directly, in a single subfolder, or in "
            f"one of several subfolders, named one of {', '.join(NORMAL_NAMES)}. "
            f"Received: {[name or 'images directly in it' for name in names] or 'no images'}"
        )
    return known[0]
