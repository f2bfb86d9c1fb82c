"""Files that are whole or not there."""

import contextlib
import csv
import json
import os
from pathlib import Path


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


def write_json(path, content):
    """Writes a dict as indented JSON."""
    with atomic_path(path) as aside:
        aside.write_text(json.dumps(content, indent=2) + "\n")


def read_json(path):
    return json.loads(Path(path).read_text())


def write_csv(path, columns):
    """Writes columns, a dict of name to equally long sequences; floats keep float32's digits."""
    with atomic_path(path) as aside, open(aside, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(f"{cell:.9g}" if hasattr(cell, "hex") else cell for cell in row)


def read_csv(path):
    """Reads what `write_csv` wrote, a dict of name to list of strings."""
    with open(path, newline="") as file:
        names, *rows = csv.reader(file)
    return dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True))
