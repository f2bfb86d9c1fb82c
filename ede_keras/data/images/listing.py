"""Finds the image files in a folder, and gives the reason why each other file is not one."""

import dataclasses
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ede_keras.data.images.inspection import NO_IMAGE, is_image_name, looks_like_image
from ede_keras.data.images.tiff import CAMERA_RAW, RAW_SUFFIXES
from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath

# Written by operating systems and file servers; skipped silently, as hidden files are.
_SYSTEM = {
    "thumbs.db",
    "desktop.ini",
    "__macosx",
    "@eadir",
    "$recycle.bin",
    "system volume information",
    "lost+found",
}


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a folder, all relative to it, with "/" as separator, sorted.

    Args:
        images: Files whose name or content is that of an image.
        left_out: All other files and broken links, with the reason.
        links: Folders that are symbolic links and were followed.
    """

    images: tuple[str, ...]
    left_out: dict[str, str]
    links: tuple[str, ...]


def list_files(folder: StrPath) -> Listing:
    """Lists the files in a folder and its subfolders.

    Hidden files and those of the operating system are skipped. Links to folders are followed, but
    no folder is read twice.

    Args:
        folder: The folder.

    Returns:
        The listing.

    Raises:
        InputError: There is no permission to read a folder.
    """
    root = Path(folder)
    images, left_out, links = [], {}, []

    def fail(error: OSError) -> None:  # by default, os.walk skips such a folder
        raise InputError(
            "Every folder of images must be readable. Grant read permission for this one. "
            f"Received: {error.filename} ({error.strerror})"
        ) from error

    def name(path: str) -> str:
        return Path(path).relative_to(root).as_posix()

    # Folders come before links to them. A link to a folder above the root would lead back here.
    above = {_identify(path) for path in root.resolve().parents}
    real = {_identify(parent) for parent, _, _ in os.walk(root, onerror=fail)}
    followed: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(root, onerror=fail, followlinks=True):
        kept = []
        for sub in sorted(filter(_is_shown, folders)):
            path = os.path.join(parent, sub)
            identity = _identify(path)
            is_real = identity in real and Path(path).resolve() == root.resolve() / name(path)
            if not is_real:
                if identity in real | above | followed:
                    left_out[name(path)] = "a link to a folder that is already read"
                    continue
                followed.add(identity)
                if os.path.islink(path):
                    links.append(name(path))
            kept.append(sub)
        folders[:] = kept
        for file in sorted(filter(_is_shown, files)):
            path = os.path.join(parent, file)
            if reason := _find_reason(path):
                left_out[name(path)] = reason
            else:
                images.append(name(path))
    images.sort(key=lambda file: Path(file).parts)
    return Listing(tuple(images), dict(sorted(left_out.items())), tuple(links))


def _identify(path: StrPath) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_dev, state.st_ino


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _SYSTEM


def _find_reason(path: str) -> str:
    """Why a file is not an image, judging by its name and first bytes; empty if it may be one."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return "a broken link" if os.path.islink(path) else str(error.strerror)
    if not stat.S_ISREG(mode):  # a pipe would be waited for
        return "not a regular file"
    if is_image_name(path) or looks_like_image(path):
        return ""
    suffix = Path(path).suffix.lower()
    if suffix in RAW_SUFFIXES:
        return CAMERA_RAW
    return f"{NO_IMAGE} of a supported format ({suffix})" if suffix else NO_IMAGE


def describe_twins(files: Iterable[str]) -> list[str]:
    """A note on files that differ only in their suffix: one may be a mask or a copy."""
    first: dict[Path, str] = {}
    twins = [f for f in files if first.setdefault(Path(f).with_suffix(""), f) != f]
    if not twins:
        return []
    example = f"{first[Path(twins[0]).with_suffix('')]} and {twins[0]}"
    return [f"{len(twins)} images have the same name as another, except for the suffix: {example}"]
