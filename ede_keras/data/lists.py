"""A list of images: a CSV file with `path,label[,split][,mask]`."""

import csv
from pathlib import Path

from ede_keras.data.folders import Layout
from ede_keras.data.subfolders import is_normal_name
from ede_keras.errors import InputError
from ede_keras.utils.files import StrPath

_COLUMNS = ("path", "label", "split", "mask")


def read_list(path: StrPath, normal: str | None = None) -> Layout:
    """Reads a list of images.

    Each row names an image: `path`, relative to the list or absolute; `label`, the name of its
    class, where 0 means normal and 1 anomalous; and if the columns are there, `split`, train or
    test, and `mask`, the path of its mask, which may be blank.

    Args:
        path: The CSV file, in UTF-8, whose first row names the columns.
        normal: Name of the normal class. Default: 0 if all labels are 0 or 1; or the only label
            that is one of `subfolders.NORMAL_NAMES`, if there is a column `split`.

    Returns:
        A layout "list" with the files of the column `path`. With a column `split`, label 0 is the
        normal class and the protocol is "official".

    Raises:
        InputError: A column is missing or unknown, a row is incomplete or appears twice, or the
            normal class cannot be determined.
    """
    rows = _read_rows(Path(path))
    names = sorted({row["label"] for row in rows})
    has_split = "split" in rows[0]
    notes = []
    is_binary = normal is None and {*names} <= {"0", "1"}
    if is_binary:
        names = ["0", "1"]
        if not has_split:
            notes.append("label 0 is taken as normal, 1 as anomalous (otherwise use --normal)")
    elif has_split:
        normal_name = _find_normal(path, names, normal)
        names = [normal_name, *(name for name in names if name != normal_name)]
    labels = {name: i for i, name in enumerate(names)}
    parts: dict[str, dict[str, int]] = {"train": {}, "test": {}}
    for row in rows:
        parts[row.get("split", "train").lower()][row["path"]] = labels[row["label"]]
    masks: dict[str, tuple[str, ...]] = {
        row["path"]: (row["mask"],) for row in rows if row.get("mask")
    }
    if has_split and (unused := [file for file in masks if file in parts["train"]]):
        notes.append(f"{len(unused)} masks of training images are not used: {unused[0]}")
        masks = {file: drawn for file, drawn in masks.items() if file in parts["test"]}
    return Layout(
        "list",
        parts["train"],
        parts["test"],
        {i: name for name, i in labels.items()},
        "official" if has_split else "split80",
        masks,
        notes=tuple(notes),
        knows_normal=has_split or is_binary,
    )


def _read_rows(path: Path) -> list[dict[str, str]]:
    # "utf-8-sig", because spreadsheets begin a file with a byte order mark.
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        try:
            columns = reader.fieldnames or []
            lines = [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            raise InputError(
                f"Line {reader.line_num} of {path} must be CSV. Received: {error}"
            ) from error
    if not {"path", "label"} <= {*columns} <= {*_COLUMNS}:
        raise InputError(
            f"{path} must begin with a row of the columns path,label and, if needed, "
            f"split,mask. Received: {','.join(columns) or 'an empty file'}"
        )
    rows: list[dict[str, str]] = []
    seen = set()
    for n, row in lines:
        blank = [name for name in columns if not row[name] and name != "mask"]
        if blank or None in row:
            raise InputError(
                f"Line {n} of {path} must have {','.join(columns)}. "
                f"Received: {f'no {blank[0]}' if blank else 'more values'}"
            )
        if row.get("split", "train").lower() not in ("train", "test"):
            raise InputError(
                f"Line {n} of {path}: split must be train or test. Received: {row['split']}"
            )
        if row["path"] in seen:
            raise InputError(
                f"Each image must appear only once in {path}. Received: {row['path']} again in "
                f"line {n}"
            )
        seen.add(row["path"])
        rows.append(row)
    if not rows:
        raise InputError(f"{path} must list at least one image. Received: no rows")
    return rows


def _find_normal(path: StrPath, names: list[str], normal: str | None) -> str:
    if normal is not None:
        known = [name for name in names if name.lower() == normal.lower()]
    else:
        known = [name for name in names if is_normal_name(name) or name == "0"]
    if len(known) != 1:
        raise InputError(
            f"The normal class of {path} must be one of its labels, {', '.join(names)}: name it "
            f"with --normal, or label it good, normal, ok or 0. Received: normal={normal!r}"
        )
    return known[0]
