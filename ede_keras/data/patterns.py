"""Image files that are named one by one, or by patterns."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from ede_keras.data.folders import Layout
from ede_keras.data.images.inspection import NO_IMAGE, is_image_name, looks_like_image
from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath


def as_names(places: StrPath | Sequence[StrPath]) -> list[str]:
    """A name or path, or several, as strings."""
    some = [places] if isinstance(places, str | os.PathLike) else places
    return [os.fspath(place) for place in some]


def find_chosen(names: Sequence[str]) -> tuple[Path, Layout] | None:
    """The image files that names and patterns stand for.

    Args:
        names: Paths of image files, or patterns of paths such as "parts/*.png"; "**" stands for any
            folders. A path that exists is taken as it is.

    Returns:
        `(folder, layout)`, the folder that holds them all and the files relative to it; for one
        file its own path instead of the folder's. None if there is one name and it is neither an
        image file nor a pattern.

    Raises:
        InputError: A pattern matches no file, or one of several names is not an image file.
    """
    files: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_file() and is_image_name(path.name):
            files.append(path)
        elif glob.has_magic(name) and not path.exists():
            files += _expand(path)
        elif len(names) == 1:
            return None
        else:
            raise InputError(
                "Several data sets must all be image files, or patterns such as 'parts/*.png'; "
                f"score a folder on its own. Received: {name!r}"
            )
    if len(files) == 1 == len(names) and files[0] == Path(names[0]).expanduser():
        return files[0], _make_layout("image", [files[0].name], {})
    absolute = [file.absolute() for file in files]
    folder = Path(os.path.commonpath([file.parent for file in absolute]))
    relative = {file: file.relative_to(folder).as_posix() for file in absolute}
    images = [file for file in absolute if is_image_name(file.name) or looks_like_image(file)]
    left_out = {relative[file]: NO_IMAGE for file in absolute if file not in {*images}}
    return folder, _make_layout("images", [relative[file] for file in images], left_out)


def _expand(pattern: Path) -> list[Path]:
    """The files of a pattern, sorted."""
    found = sorted(Path(match) for match in glob.glob(str(pattern), recursive=True))
    if files := [path for path in found if path.is_file()]:
        return files
    raise InputError(f"Expected a pattern that matches image files. Received: {str(pattern)!r}")


def _make_layout(name: str, files: Sequence[str], left_out: dict[str, str]) -> Layout:
    return Layout(
        name, dict.fromkeys(files, 0), {}, {0: "good"}, "split80", left_out=dict(left_out)
    )
