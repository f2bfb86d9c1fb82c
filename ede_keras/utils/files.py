"""Files that are written completely or not at all."""

import contextlib
import csv
import json
import math
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

from ede_keras.errors import InputError

if sys.platform != "win32":
    import fcntl

StrPath: TypeAlias = str | os.PathLike[str]


@contextlib.contextmanager
def atomic_path(path: StrPath) -> Iterator[Path]:
    """Yields a temporary path to write to, and renames it to `path` on success.

    `path` holds either its old content or the complete new one, even if the process is killed.
    The temporary file is in the same folder and has the same extension. It is deleted if the
    block raises an error.

    Args:
        path: The file to create or replace.

    Yields:
        The temporary path.

    Example:
        >>> with atomic_path("scores.txt") as temporary:
        ...     temporary.write_text("0.5")
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def reading(path: StrPath, remedy: str) -> Iterator[None]:
    """Turns the errors that a damaged file causes in its reader into an `InputError`.

    Args:
        path: The file that is read within the block.
        remedy: What the user should do if the file is damaged; part of the error message.

    Yields:
        Nothing.

    Raises:
        InputError: The file is damaged.
        OSError: The file is missing, or there is no permission to read it.

    Example:
        >>> with reading("config.json", "train the run again"):
        ...     config = read_json("config.json")
    """
    # Keras raises a ValueError for a file that it cannot open; this raises the OSError first.
    open(path, "rb").close()
    try:
        yield
    except (ValueError, TypeError, KeyError, csv.Error, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged; {remedy}. Received: {error}") from error


def lock(file: int | IO[bytes], refusal: str) -> None:
    """Locks an open file against other processes until it is closed. Windows has no such lock.

    Args:
        file: The file, open for writing, or its descriptor.
        refusal: What the user should know if another process has locked it.

    Raises:
        InputError: Another process has locked the file.
    """
    if sys.platform == "win32":
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise InputError(refusal) from error


def write_json(path: StrPath, content: Mapping[str, object]) -> None:
    """Writes a dict as indented JSON, atomically; NaN and infinity become null."""
    with atomic_path(path) as temporary:
        text = json.dumps(_without_nan(content), indent=2, allow_nan=False)
        temporary.write_text(f"{text}\n", encoding="utf-8")


def _without_nan(value: object) -> object:
    """The content with None for numbers that JSON does not have: NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: StrPath) -> dict[str, Any]:
    """Reads a dict from a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_csv(path: StrPath, columns: Mapping[str, Iterable[object]]) -> None:
    """Writes columns of equal length as CSV, atomically.

    Args:
        path: The file to create or replace.
        columns: Column name to values, in the order of the columns. Floats are written with all
            digits, so that reading them gives the same numbers.
    """
    with atomic_path(path) as temporary, _open_csv(temporary, "w") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_csv(path: StrPath) -> dict[str, list[str]]:
    """Reads a CSV file written by `write_csv`.

    Args:
        path: The file.

    Returns:
        Column name to values, all of them strings.
    """
    with _open_csv(path, "r") as file:
        names, *rows = csv.reader(file)
    return dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True))


def _open_csv(path: StrPath, mode: Literal["r", "w"]) -> IO[str]:
    # File names in a column may hold bytes that are not valid UTF-8: "surrogateescape" keeps them.
    return open(path, mode, newline="", encoding="utf-8", errors="surrogateescape")
