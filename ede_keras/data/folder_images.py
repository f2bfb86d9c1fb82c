"""Reads the images and masks of a folder or a list into a data set."""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ede_keras.choices import LAYOUTS
from ede_keras.data.dataset import Dataset
from ede_keras.data.folders import Layout
from ede_keras.data.images.files import find_highest, find_white, load_measured
from ede_keras.data.images.inspection import ImageFacts, inspect_image
from ede_keras.data.mask_files import Masks
from ede_keras.data.summary import (
    LoadingSummary,
    describe_dimness,
    describe_files,
    describe_left_out,
    describe_masks,
)
from ede_keras.errors import InputError
from ede_keras.utils import scratch


@dataclasses.dataclass(frozen=True)
class Options:
    """How to read the images, as in `datasets.load_dataset`.

    Args:
        image_shape: `(height, width, channels)`; height and width None for those of the first
            image, channels None for 1 if all images show only grey, else 3.
        strict: Whether a file that is left out is an error.
        max_value: The value of white in files of 16 bits; None to find it.
        verbose: 1 shows a progress bar.
        largest_side: The most that the longer side of the first image's size may have.
    """

    image_shape: Sequence[int | None]
    strict: bool = False
    max_value: int | None = None
    verbose: int = 0
    largest_side: int | None = None


def load_layout(place: Path, layout: Layout, options: Options) -> Dataset:
    """Reads the files of a layout.

    Args:
        place: The folder that the files are relative to; or the list or the image, whose folder
            it is.
        layout: The files and their labels.
        options: How to read them.

    Returns:
        The dataset. Its images are stored on disk (see `scratch.store`).

    Raises:
        InputError: No image can be read, or with `strict` one of the files is left out.
    """
    folder = place.parent if place.is_file() else place
    files = [*layout.train, *layout.test]
    paths = [folder / file for file in files]
    facts = {file: inspect_image(folder / file) for file in files}
    highest = find_highest(paths, list(facts.values()))
    white = None
    if any(fact.bits == 16 and not fact.problem for fact in facts.values()):
        white = find_white(place, highest, options.max_value)
    height, width, channels = options.image_shape
    if height is None or width is None:
        sizes = (fact.size for fact in facts.values() if not fact.problem)
        height, width = _limit(next(sizes, (1, 1)), options.largest_side)
    images, unread, measured = load_measured(
        paths, (height, width, channels or 3), options.verbose, white or 255, list(facts.values())
    )
    out = {file for file, is_out in zip(files, unread, strict=True) if is_out}
    left_out = {**layout.left_out, **{file: facts[file].problem or "damaged" for file in out}}
    if left_out and (options.strict or not len(images)):
        _refuse(place, left_out)
    if channels is None and all(map(_is_grey, images)):
        images = scratch.store((i[..., :1] for i in images), (height, width, 1), np.uint8)
    train, test = ({f: part[f] for f in part if f not in out} for part in layout.parts)
    layout = dataclasses.replace(layout, train=train, test=test, left_out=left_out)
    read = {file: facts[file] for file in (*train, *test)}
    _warn_of_blank(place, read, images)
    # Without a test part, a protocol takes some of the others.
    drawn = {file: masks for file, masks in layout.masks.items() if file in (test or train)}
    masks = Masks.read(folder, drawn, {file: read[file].size for file in drawn})
    summary = _summarize(place, layout, masks, list(read.values()), images, measured, white)
    _warn_of_lost(summary)
    n = len(train)
    return _build(place, layout, images[:n], images[n:], summary, white, masks)


def _limit(size: tuple[int, int], largest_side: int | None) -> tuple[int, int]:
    """A size, scaled down in proportion if its longer side is longer than that."""
    factor = max(max(size) / (largest_side or max(size)), 1)
    height, width = (max(round(side / factor), 1) for side in size)
    return height, width


def _warn_of_blank(place: Path, facts: dict[str, ImageFacts], images: np.ndarray) -> None:
    """Warns about drawings that are in the alpha channel alone."""
    blank = [
        file
        for (file, fact), image in zip(facts.items(), images, strict=True)
        if fact.has_alpha and image.min() == image.max()
    ]
    if blank:
        warnings.warn(
            f"{len(blank)} files in {place} are blank without their transparency, which is "
            f"dropped: {', '.join(blank[:3])}",
            stacklevel=4,
        )


def list_layout(place: Path, layout: Layout) -> Dataset:
    """The files of a layout as a dataset without reading them; see `datasets.list_folder`."""
    folder = place.parent if place.is_file() else place
    train, test = (np.array([folder / file for file in part], object) for part in layout.parts)
    summary = LoadingSummary(
        str(place),
        _describe_layout(layout),
        _count_classes(layout),
        layout.left_out,
        layout.notes,
    )
    return _build(place, layout, train, test, summary)


def leave_out(dataset: Dataset, problems: dict[str, str], strict: bool = False) -> Dataset:
    """A listed dataset without the files that turned out to have a problem.

    Args:
        dataset: From `list_layout`.
        problems: Path of each such file, relative to the folder, to the reason.
        strict: As in `Options`.

    Returns:
        The dataset with another summary.

    Raises:
        InputError: With `strict`, if files are left out.
    """
    left_out = {**dataset.summary.left_out, **problems}
    if left_out and strict:
        _refuse(Path(dataset.source), left_out)
    keep = [
        np.array([str(path) not in problems for path in paths], bool)
        for paths in (dataset.paths_train, dataset.paths_test)
        if paths is not None
    ]
    labels = [y[k] for y, k in zip((dataset.y_train, dataset.y_test), keep, strict=True)]
    classes = {
        part: {
            name: n for label, name in dataset.class_names.items() if (n := int((y == label).sum()))
        }
        for part, y in zip(("train", "test"), labels, strict=True)
    }
    summary = dataclasses.replace(dataset.summary, classes=classes, left_out=left_out)
    _warn_of_lost(summary)
    return dataclasses.replace(dataset, summary=summary)


def _warn_of_lost(summary: LoadingSummary) -> None:
    if summary.lost:
        lines = "; ".join(describe_left_out(summary.lost))
        warnings.warn(f"Left out of {summary.source}: {lines}", stacklevel=4)


def _refuse(place: Path, left_out: dict[str, str]) -> None:
    raise InputError(
        f"Every file in {place} must be an image that can be read. Replace or remove the others, "
        "or load it without `strict` to leave them out. Received: "
        + "; ".join(describe_left_out(left_out))
    )


def _summarize(
    place: Path,
    layout: Layout,
    masks: Masks,
    read: list[ImageFacts],
    images: np.ndarray,
    measured: np.ndarray,
    white: int | None,
) -> LoadingSummary:
    entries, notes = describe_files(read)
    ranges, more = _describe_ranges(read, measured, white)
    facts: dict[str, Any] = {**entries, **ranges}
    notes += more
    if images.shape[-1] == 1 and (n_colours := int(measured[:, 2].sum())):
        notes.append(f"{n_colours} images show colours, which are read as grey")
    facts["image_shape"] = list(images.shape[1:])
    facts["colour"] = images.shape[-1] == 3
    facts["lowest_and_highest_as_read"] = [int(images.min()), int(images.max())]
    facts["max_value"] = white
    if layout.knows_normal or layout.masks:
        anomalous = [file for file, label in (layout.test or layout.train).items() if label]
        entries, more = describe_masks(masks, anomalous if layout.knows_normal else None)
        facts |= entries
        notes += more
    return LoadingSummary(
        str(place),
        _describe_layout(layout),
        _count_classes(layout),
        layout.left_out,
        (*layout.notes, *notes),
        facts,
    )


def _describe_ranges(
    read: list[ImageFacts], measured: np.ndarray, white: int | None
) -> tuple[dict[str, Any], list[str]]:
    """The range of values as stored, by the bits of the files: an entry of `data.json`, notes."""
    whites = {8: 255, 16: white or 1}
    bits_of = np.array([fact.bits for fact in read])
    ranges = {
        bits: [int(measured[bits_of == bits, 0].min()), int(measured[bits_of == bits, 1].max())]
        for bits in whites
        if (bits_of == bits).any()
    }
    notes = []
    if 16 in ranges:
        notes.append(
            f"{(bits_of == 16).sum()} files have 16 bits, up to {ranges[16][1]}: {white} is read "
            "as white (--max_value)"
        )
    shares = {bits: highest / whites[bits] for bits, (_, highest) in ranges.items()}
    brightest = max(shares, key=shares.__getitem__)
    notes += describe_dimness(ranges[brightest][1], shares[brightest], brightest == 16)
    entries = {f"{bits}_bits": low_high for bits, low_high in ranges.items()}
    return {"lowest_and_highest_as_stored": entries}, notes


def _describe_layout(layout: Layout) -> str:
    if layout.name not in LAYOUTS:
        names = {"list": "a list of files", "image": "one image", "images": "chosen images"}
        return names[layout.name]
    return f"layout {layout.name!r} ({LAYOUTS[layout.name]})"


def _count_classes(layout: Layout) -> dict[str, dict[str, int]]:
    """The number of files of each class, by part."""
    counts = {}
    for part, files in zip(("train", "test"), layout.parts, strict=True):
        labels = list(files.values())
        found = {name: labels.count(label) for label, name in layout.class_names.items()}
        if files:
            counts[part] = {name: n for name, n in found.items() if n}
    return counts


def _is_grey(image: np.ndarray) -> bool:
    return bool((image == image[..., :1]).all())


def _build(
    place: Path,
    layout: Layout,
    x_train: np.ndarray,
    x_test: np.ndarray,
    summary: LoadingSummary,
    max_value: int | None = None,
    masks: Masks | None = None,
) -> Dataset:
    y_train, y_test = (np.array(list(part.values()), np.int64) for part in layout.parts)
    return Dataset(
        place.resolve().stem if place.is_file() else place.resolve().name,
        x_train,
        y_train,
        x_test,
        y_test,
        layout.class_names,
        str(place),
        layout.default_protocol,
        paths_train=np.array(list(layout.train), str),
        paths_test=np.array(list(layout.test), str),
        is_folder=True,
        layout=layout.name,
        max_value=max_value,
        knows_normal=layout.knows_normal,
        masks=masks,
        summary=summary,
    )
