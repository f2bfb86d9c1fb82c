"""Finds and reads the masks of test images: which of their pixels are anomalous."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import tensorflow as tf

from ede_keras.data.images.conversion import convert_to_png
from ede_keras.data.images.inspection import inspect_image
from ede_keras.errors import UnreadableImage
from ede_keras.utils.files import StrPath

# Names of folders that hold masks, in upper or lower case.
MASK_FOLDERS = ("ground_truth", "groundtruth", "gt", "mask", "masks", "label", "labels")
_SUFFIX = re.compile(r"[_-](mask|label|gt|seg)(_?\d+)?$", re.IGNORECASE)
# Masks and maps are compared at this height and width, as is usual for MVTec.
SIZE = 256
# A lossless mask of more grey levels than these, up to white, has soft edges: half of white is the
# border. Otherwise it is a drawing, or its values are numbers of classes or objects: all but 0 is
# anomalous.
_MAX_LEVELS, _WHITE = 16, 65535


def find_masks(
    files: Iterable[str], masks: Iterable[str], test_name: str
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Finds the mask of each test image by its name.

    The mask of "test/scratch/007.png" is "ground_truth/scratch/007_mask.png", with the suffix
    `_mask`, `_label`, `_gt`, `_seg` or none, in upper or lower case, and any image extension. Or
    its parts are the files in "ground_truth/scratch/007/", as in MVTec LOCO.

    Args:
        files: The test images, relative to the folder, with "/" as separator.
        masks: All masks, in a folder of `MASK_FOLDERS` beside or in the test part.
        test_name: Name of the test part.

    Returns:
        `(found, unused)`: the masks of each image that has one, and the masks of no image.
    """
    by_name: dict[tuple[str, ...], tuple[str, ...]] = {}
    by_folder: dict[tuple[str, ...], tuple[str, ...]] = {}
    masks = list(masks)
    for mask in masks:
        parts = Path(mask.lower()).parts
        start = next(i for i, part in enumerate(parts) if part in MASK_FOLDERS) + 1
        folders, stem = parts[start:-1], Path(parts[-1]).stem
        for name in (_SUFFIX.sub("", stem), stem):
            by_name.setdefault((*folders, name), (mask,))
        by_folder[folders] = (*by_folder.get(folders, ()), mask)
    found = {}
    for file in files:
        parts = Path(file).parts
        place = tuple(part.lower() for part in (*parts[1:-1], Path(file).stem))
        if parts[0] == test_name and (drawn := by_name.get(place) or by_folder.get(place)):
            found[file] = drawn
    used = {mask for drawn in found.values() for mask in drawn}
    return found, sorted({*masks} - used)


def split_masks_beside(files: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Tells images from the masks that lie beside them: "a.png" from "a_mask.png".

    Args:
        files: Image files, with "/" as separator.

    Returns:
        `(images, masks)`: the images, and each mask with the image beside it.
    """
    files = list(files)
    by_name = {str(Path(file).with_suffix("")).lower(): file for file in files}
    masks = {}
    for file in files:
        name = str(Path(file).with_suffix("")).lower()
        if (base := _SUFFIX.sub("", name)) != name and base in by_name:
            masks[file] = by_name[base]
    return [file for file in files if file not in masks], masks


@dataclasses.dataclass(frozen=True)
class Masks:
    """The masks of the test images of a folder.

    Args:
        drawn: Mask of each image that has one: bool `(SIZE, SIZE)`, true for anomalous pixels.
        unread: Images whose mask cannot be used, with the reason.
        empty: Images whose mask has no anomalous pixel.
        resized: Images whose mask has another size than the image.
    """

    drawn: dict[str, np.ndarray]
    unread: dict[str, str] = dataclasses.field(default_factory=dict)
    empty: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        folder: StrPath,
        masks: Mapping[str, Sequence[str]],
        sizes: Mapping[str, tuple[int, int]],
    ) -> Self:
        """Reads the masks.

        Args:
            folder: What the paths are relative to.
            masks: Image to its masks, which count together.
            sizes: Image to its height and width.

        Returns:
            The masks.
        """
        drawn, unread, empty, resized = {}, {}, [], []
        for file, parts in masks.items():
            try:
                pixels = np.logical_or.reduce([read_mask(Path(folder, part)) for part in parts])
            except UnreadableImage as error:
                unread[file] = str(error)
                continue
            if file in sizes and sizes[file] != pixels.shape:
                resized.append(file)
            if not pixels.any():
                empty.append(file)
                continue
            drawn[file] = resize_mask(pixels)
            if not drawn[file].any():
                del drawn[file]
                unread[file] = f"no pixel is left at {SIZE} x {SIZE}"
        return cls(drawn, unread, tuple(empty), tuple(resized))

    def select(
        self, files: Sequence[str] | np.ndarray, true_labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The masks of some test images.

        Args:
            files: Their paths, n.
            true_labels: Integers `(n,)`, 1 for anomalous, 0 for normal.

        Returns:
            `(masks, known)`. `known` is bool `(n,)`, true for normal images and for anomalous
            images with a mask, m in total. `masks` is bool `(m, SIZE, SIZE)`; normal images have
            no anomalous pixel. None if no anomalous image has a mask.
        """
        nothing = np.zeros((SIZE, SIZE), bool)
        rows = []
        known = np.zeros(len(files), bool)
        for i, (file, label) in enumerate(zip(files, true_labels, strict=True)):
            mask = nothing if label == 0 else self.drawn.get(str(file))
            known[i] = mask is not None
            if mask is not None:
                rows.append(mask)
        if not any(mask is not nothing for mask in rows):
            return None
        return np.stack(rows), known


def read_mask(path: StrPath) -> np.ndarray:
    """Reads a mask in its own size.

    A pixel is anomalous if it is not 0, in any channel or colour of a palette. In a JPEG, and if
    there are soft edges (more than 16 levels, one of them white), it is anomalous if it reaches
    half of the highest value.

    Args:
        path: The file.

    Returns:
        bool `(height, width)`.

    Raises:
        UnreadableImage: The file cannot be read.
    """
    facts = inspect_image(path)
    pixels = tf.io.decode_png(convert_to_png(path, facts), dtype=tf.uint16).numpy()
    if pixels.shape[-1] in (2, 4):  # without alpha
        pixels = pixels[..., :-1]
    levels = pixels.max(axis=-1)
    highest = int(levels.max())
    is_lossy = facts.format in ("JPEG", "MPO")
    if is_lossy or (highest == _WHITE and len(np.unique(levels)) > _MAX_LEVELS):
        # A JPEG of an empty mask is not quite 0 everywhere: 16 of 255, in 16 bits.
        return (2 * levels.astype(int) >= highest) & (highest > 16 * 257 if is_lossy else True)
    return levels > 0


def resize_mask(mask: np.ndarray) -> np.ndarray:
    """Resizes a bool mask to `(SIZE, SIZE)`; a pixel at least half of which is anomalous counts."""
    levels = tf.image.resize(mask[..., None] * np.uint8(255), (SIZE, SIZE), antialias=True)
    return np.round(levels.numpy()[..., 0]) > 127
