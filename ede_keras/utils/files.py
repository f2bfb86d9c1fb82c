"""Files that are whole or not there."""

import contextlib
import csv
import json
import os
import zipfile
from pathlib import Path

from ede_keras.errors import InputError

# Names of files need not be text; such bytes come through unchanged.
_ANY_NAME = {"encoding": "utf-8", "errors": "surrogateescape"}


@contextlib.contextmanager
def atomic_path(path):
    """Gives a path beside `path` to write to, and renames it to `path` when all went well.

    Whatever happens, `path` holds the old content or the new, never a part.
    """
    path = Path(path)
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def reading(path, remedy):
    """Makes an `InputError` with the remedy of what a damaged file lets its reader raise.

    A file that is missing or may not be read is not damaged: its `OSError` comes through.
    """
    open(path, "rb").close()  # for Keras raises a ValueError
    try:
        yield
    except (ValueError, TypeError, KeyError, csv.Error, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged; {remedy}. Received: {error}") from error


def write_json(path, content):
    """Writes a dict as indented JSON."""
    with atomic_path(path) as aside:
        aside.write_text(json.dumps(content, indent=2) + "\n")


def read_json(path):
    return json.loads(Path(path).read_text())


def write_csv(path, columns):
    """Writes columns, a dict of name to equally long sequences; numbers keep every digit."""
    with atomic_path(path) as aside, open(aside, "w", newline="", **_ANY_NAME) as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_csv(path):
    """Reads what `write_csv` wrote, a dict of name to list of strings."""
    with open(path, newline="", **_ANY_NAME) as file:
        names, *rows = csv.reader(file)
    return dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True))
