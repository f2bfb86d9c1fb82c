"""A folder of images -> which file is in which part and class; no pixel is read here."""

import dataclasses
from pathlib import Path

from ede_keras.data.images.files import EXTENSIONS, list_images
from ede_keras.errors import InputError

NORMAL_NAMES = ("good", "normal", "0.normal", "ok")
LAYOUTS = {
    "split": "train/ and test/, as in MVTec AD and GANomaly",
    "classes": "a subfolder for each class",
    "normals": "all images are normal",
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """The images of a folder, by relative path ("/" between the parts), with their labels; `name`
    is one of `LAYOUTS`."""

    name: str
    train: dict[str, int]
    test: dict[str, int]
    class_names: dict[int, str]
    default_protocol: str

    @property
    def parts(self):
        return self.train, self.test


def find_layout(folder, name: str | None = None) -> Layout:
    """Reads one of three layouts.

    - "split": `train/` and `test/` (MVTec, GANomaly): label 0 is the normal class. It is the one
      subfolder of `train/`, or of several the one named as in `NORMAL_NAMES`, or the images
      directly in `train/`. The other subfolders of `test/` get the labels 1, 2, ... by name.
      Anything else beside `train/` and `test/`, such as `ground_truth/`, is ignored.
    - "normals": images directly in the folder, or one subfolder only: all of its images are
      normal.
    - "classes": several subfolders: a class each, with labels 0, 1, ... by name.

    Args:
        folder: Path of an existing folder. Files that are no images are ignored.
        name: Which of them it is; by default recognised by the names of its subfolders.

    Returns:
        The layout; files are sorted within a class.

    Raises:
        InputError: No images, not in this layout, or no telling which are normal.
    """
    folder = Path(folder)
    has_parts = (folder / "train").is_dir() and (folder / "test").is_dir()
    if name == "split" and not has_parts:
        raise InputError(f"{folder} must have train/ and test/ for layout 'split'.")
    if name == "split" or (name is None and has_parts):
        return _split_layout(folder)
    classes = _classes(folder)
    if not classes:
        raise InputError(
            f"{folder} must hold images ({' '.join(EXTENSIONS)}), in it or in its subfolders. "
            f"Received: none"
        )
    if name == "normals" or (name is None and ("" in classes or len(classes) == 1)):
        normal = next(iter(classes)) if len(classes) == 1 else ""
        files = {file: 0 for files in classes.values() for file in files}
        return Layout("normals", files, {}, {0: normal or "good"}, "split80")
    if "" in classes:
        raise InputError(
            f"{folder} must hold its images in subfolders, one a class, for layout 'classes'. "
            f"Received: {classes[''][0]}"
        )
    names = dict(enumerate(classes))
    train = {file: label for label, name in names.items() for file in classes[name]}
    return Layout("classes", train, {}, names, "split80")


def _classes(folder, root=None):
    """{subfolder name: its files relative to root}; "" stands for the folder itself."""
    classes = {}
    for path in list_images(folder):
        inside = path.relative_to(folder).parts
        name = inside[0] if len(inside) > 1 else ""
        classes.setdefault(name, []).append(path.relative_to(root or folder).as_posix())
    return dict(sorted(classes.items()))


def _split_layout(folder):
    train, test = _classes(folder / "train", folder), _classes(folder / "test", folder)
    normal = _normal_name(folder, list(train))
    if "" in test:
        raise InputError(
            f"{folder / 'test'} must hold its images in subfolders, one a class: normal ones in "
            f"good/, others in folders of any other name. Received: {test[''][0]}"
        )
    is_normal = {normal.lower(), *NORMAL_NAMES}
    others = sorted(name for name in {*train, *test} - {normal} if name.lower() not in is_normal)
    label = {name: 1 + i for i, name in enumerate(others)}
    parts = [
        {file: label.get(name, 0) for name, files in classes.items() for file in files}
        for classes in (train, test)
    ]
    names = {0: normal or "good", **{i: name for name, i in label.items()}}
    return Layout("split", *parts, names, "official")


def _normal_name(folder, names):
    """The normal one of the subfolders of `train/`."""
    if len(names) == 1:
        return names[0]
    known = [name for name in names if name.lower() in NORMAL_NAMES]
    if "" in names or len(known) != 1:
        raise InputError(
            f"{folder / 'train'} must hold normal images, either directly or in one subfolder, or "
            f"in one of several that is named {', '.join(NORMAL_NAMES)}. Received: "
            f"{[name or 'images directly in it' for name in names] or 'no images'}"
        )
    return known[0]
