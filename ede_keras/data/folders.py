"""The layout of a folder of images: the part and the class of each file. Reads no pixels."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from ede_keras.data.images.inspection import SUFFIXES
from ede_keras.data.images.listing import describe_twins, list_files
from ede_keras.data.mask_files import MASK_FOLDERS, find_masks, split_masks_beside
from ede_keras.data.subfolders import (
    NORMAL_NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    begins_with,
    check_nested,
    describe_nested,
    find_wrapper,
    group_files,
    is_normal_name,
)
from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath


@dataclasses.dataclass(frozen=True)
class Layout:
    """The image files of a folder with their labels.

    Args:
        name: One of `choices.LAYOUTS`, "list", "image" or "images".
        train: Training files: path relative to the folder, with "/" as separator, to label.
        test: Test files, as `train`; may be empty.
        class_names: Label to class name.
        default_protocol: One of `ede_keras.choices.PROTOCOLS`.
        masks: Masks of each test file that has some, all relative to the folder.
        left_out: Every other file, with the reason.
        notes: What a reader should know about how the folder was read, a sentence each.
        knows_normal: Whether label 0 is the normal class and all others are anomalous.
    """

    name: str
    train: dict[str, int]
    test: dict[str, int]
    class_names: dict[int, str]
    default_protocol: str
    masks: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    knows_normal: bool = False

    @property
    def parts(self) -> tuple[dict[str, int], dict[str, int]]:
        """`(train, test)`."""
        return self.train, self.test

    def below(self, wrapper: str) -> Self:
        """The same layout with paths relative to a folder further up.

        Args:
            wrapper: The path from there to the folder, with "/" at its end; or empty.
        """
        train, test = ({wrapper + f: label for f, label in part.items()} for part in self.parts)
        masks = {wrapper + f: tuple(wrapper + m for m in ms) for f, ms in self.masks.items()}
        left_out = {wrapper + f: reason for f, reason in self.left_out.items()}
        return dataclasses.replace(self, train=train, test=test, masks=masks, left_out=left_out)


def find_layout(folder: StrPath, name: str | None = None, normal: str | None = None) -> Layout:
    """Assigns a part and a label to each image file of a folder.

    There are three layouts:

    - "split": The folder has `train/` and `test/`, as in MVTec AD and GANomaly. `training/` and
      `testing/` or `test_.../` will do, in upper or lower case, and `val/` if there is no other
      test part. Label 0 is the normal class. It is the class `normal`; or the only subfolder of
      the training part; or, of several, the one with a name of `NORMAL_NAMES`; or the images
      directly in it. The other subfolders are anomalies, with labels 1, 2, ... in alphabetical
      order. `ground_truth/` holds masks.
    - "normals": The images are directly in the folder, or in a single subfolder. All are normal
      and have label 0.
    - "classes": There are several subfolders, one per class, with labels 0, 1, ... in alphabetical
      order.

    Folders that hold nothing but the next one, as in archives, are passed through.

    Args:
        folder: An existing folder.
        name: One of `choices.LAYOUTS`. Default: detected from the subfolders.
        normal: Name of the normal class, for the layout "split".

    Returns:
        The layout. The files of a class are sorted by path.

    Raises:
        InputError: There are no images, the folder does not have the layout `name`, it can be
            read in two ways, or the normal class cannot be determined.
    """
    folder = Path(folder)
    listing = list_files(folder)
    images, beside = split_masks_beside(listing.images)
    notes = [f"{link}/ is a link and was followed" for link in listing.links]
    notes += describe_twins(images)
    left_out = dict(listing.left_out)
    wrapper = find_wrapper(images, normal) if name in (None, "split") else ""
    inside = [file.removeprefix(wrapper) for file in images]
    layout = _assign(folder / wrapper, inside, name, normal).below(wrapper)
    if wrapper:
        notes.append(
            f"all images are in {wrapper}, which is read as the folder of the data set"
            + "; --layout=normals reads them all as normal" * (layout.name == "classes")
        )
    notes += layout.notes
    left_out |= layout.left_out
    masks = dict(layout.masks)
    for mask, image in beside.items():
        if image in layout.test:
            masks[image] = (*masks.get(image, ()), mask)
        elif image not in left_out:
            left_out[mask] = f"a mask of {image}, judging by its name"
        else:  # the same reason
            left_out[mask] = left_out[image]
    return dataclasses.replace(
        layout, masks=masks, left_out=dict(sorted(left_out.items())), notes=tuple(notes)
    )


def _assign(folder: Path, images: Iterable[str], name: str | None, normal: str | None) -> Layout:
    """The layout of images, which are relative to the folder, without masks beside them."""
    groups = group_files(images)
    if parts := _find_parts(folder, groups, name):
        return _split_layout(folder, groups, *parts, normal)
    return _plain_layout(folder, groups, name)


def _find_parts(
    folder: Path, groups: dict[str, list[str]], name: str | None
) -> tuple[str, str] | None:
    """The names of the training and the test part; None if the layout is another one."""
    if name not in (None, "split"):
        return None
    folders = sorted({*groups, *(p.name for p in folder.iterdir() if p.is_dir())} - {""})
    train = [group for group in folders if begins_with(group, TRAIN)]
    test = [group for group in folders if begins_with(group, TEST)]
    if len(test) > 1:  # beside others of its kind, as test_public/, the plain one counts
        test = [group for group in test if group.lower() in TEST] or test
    if train and not test:
        test = [group for group in folders if begins_with(group, VALIDATION)]
    if len(train) == 1 and len(test) == 1:
        return train[0], test[0]
    # A class may be called "train"; then it has no classes of its own.
    parts = [file for group in (*train, *test) for file in groups.get(group, ())]
    has_classes = any(len(Path(file).parts) > 2 for file in parts)
    if name is None and not has_classes:
        return None
    found = ", ".join(f"{group}/" if group else "images" for group in groups) or "no images"
    raise InputError(
        f"{folder} must have train/ and test/ (one of each; training/, testing/, test_.../ or "
        "val/ will do) to be read as layout 'split'. If one of its subfolders holds all images, "
        "pass that one; else rename them, choose another layout with --layout, or list the files "
        f"in a .csv. Received: {found}"
    )


def _split_layout(
    folder: Path, groups: dict[str, list[str]], train_name: str, test_name: str, normal: str | None
) -> Layout:
    left_out = {
        file: f"in {group}/, beside {train_name}/ and {test_name}/" if group else "beside the parts"
        for group, files in groups.items()
        if group not in (train_name, test_name) and group.lower() not in MASK_FOLDERS
        for file in files
    }
    train, test = (group_files(groups.get(part, ()), 1) for part in (train_name, test_name))
    masks = [f for g, files in groups.items() if g.lower() in MASK_FOLDERS for f in files]
    for part in (train, test):
        for group in [group for group in part if group.lower() in MASK_FOLDERS]:
            masks += part.pop(group)
    for part_name, part in ((train_name, train), (test_name, test)):
        check_nested(folder, {f"{part_name}/{g}": files for g, files in part.items()}, 2)
    if "" in test:
        raise InputError(
            f"{folder / test_name} must hold its images in subfolders, one per class: the normal "
            "ones in good/, the others in folders of any other name. "
            f"Received: {test[''][0]}"
        )
    normal_name = _find_normal_name(folder / train_name, list(train), normal)
    # What the user names counts alone, if the test part has it.
    asked = normal_name if normal is None else normal
    named = normal is not None and any(g.lower() == asked.lower() for g in test)
    normals = {
        group
        for group in {*train, *test}
        if group.lower() in (normal_name.lower(), asked.lower())
        or (not named and is_normal_name(group))
    }
    others = sorted({*train, *test} - normals - {""})
    labels = {group: 1 + i for i, group in enumerate(others)}
    files_train, files_test = (
        {file: labels.get(group, 0) for group, files in part.items() for file in files}
        for part in (train, test)
    )
    notes = [f"{test_name}/ is taken as the test part"] * (not begins_with(test_name, TEST))
    notes += [
        f"{test_name}/{group}/ counts as normal, as {train_name}/{normal_name} does"
        for group in sorted(normals & {*test})
        if normal_name and group.lower() != normal_name.lower()
    ]
    found, unused = find_masks(files_test, masks, test_name)
    left_out |= dict.fromkeys(unused, "a mask without a test image")
    names = {0: normal_name or asked or "good", **dict(enumerate(others, 1))}
    return Layout(
        "split", files_train, files_test, names, "official", found, left_out, tuple(notes), True
    )


def _find_normal_name(folder: Path, groups: Sequence[str], normal: str | None) -> str:
    """Finds the normal class among the subfolders of the training part."""
    named = [group for group in groups if normal is not None and group.lower() == normal.lower()]
    if named or len(groups) == 1:
        return (named or groups)[0]
    known = [group for group in groups if is_normal_name(group)]
    if normal is not None or "" in groups or len(known) != 1:
        raise InputError(
            f"{folder} must hold normal images directly, in a single subfolder, or in one of "
            f"several: name that one with --normal, or call it {' or '.join(NORMAL_NAMES)}. "
            f"Received: {[group or 'images directly in it' for group in groups] or 'no images'}, "
            f"--normal={normal}"
        )
    return known[0]


def _plain_layout(folder: Path, groups: dict[str, list[str]], name: str | None) -> Layout:
    """The layouts "normals" and "classes"."""
    masks = [g for g in groups if g.lower() in MASK_FOLDERS and len(groups) > 1]
    if name == "classes":  # the user's word counts: photos of face masks, say
        masks = []
    left_out = dict.fromkeys(
        (file for group in masks for file in groups.pop(group)),
        "in a folder of masks (--layout=classes reads it as a class)",
    )
    if not groups:
        raise InputError(
            f"{folder} must hold images ({' '.join(SUFFIXES)}), directly or in subfolders. "
            "Received: none"
        )
    if name == "normals" or (name is None and len(groups) == 1):
        if name is None:
            only = next(iter(groups))
            check_nested(folder, {only: groups[only]}, 1 if only else 0)
        normal = next(iter(groups)) if len(groups) == 1 else ""
        labels = {file: 0 for files in groups.values() for file in files}
        return Layout(
            "normals", labels, {}, {0: normal or "good"}, "split80", left_out=left_out,
            notes=describe_nested(groups),
        )  # fmt: skip
    if "" in groups:
        subfolders = ", ".join(f"{group}/" for group in groups if group)
        raise InputError(
            f"{folder} must hold its images in subfolders, one per class, for layout 'classes', or "
            "all of them directly, for layout 'normals'. Move them; or choose --layout=normals, if "
            f"those in subfolders are normal, too. Received: {groups[''][0]} beside {subfolders}"
        )
    if name is None:
        check_nested(folder, groups, 1)
    names = dict(enumerate(groups))
    labels = {file: label for label, name in names.items() for file in groups[name]}
    return Layout(
        "classes", labels, {}, names, "split80", left_out=left_out, notes=describe_nested(groups)
    )
