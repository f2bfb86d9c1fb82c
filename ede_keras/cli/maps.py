"""Pictures of anomaly maps, and the regions that are anomalous: `ede-evaluate --maps=FOLDER`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from ede_keras.data.images.files import decode_content
from ede_keras.data.images.inspection import inspect_image
from ede_keras.errors import InputError
from ede_keras.evaluation.overlays import choose_top, draw_overlay
from ede_keras.evaluation.regions import find_regions
from ede_keras.utils.files import StrPath, atomic_path, write_csv

REGIONS = "regions.csv"
BATCH_SIZE = 64  # maps that are computed together
_COLUMNS = ("path", "x", "y", "width", "height", "peak")


class Mapped(NamedTuple):
    """An image and its anomaly map.

    Args:
        name: Its path, relative to the images' folder, or its position.
        source: Its file; or its pixels `(height, width, channels)`, 0 to 255.
        anomaly_map: float32 `(h, w)`, of the size that the model reads.
    """

    name: str
    source: StrPath | np.ndarray
    anomaly_map: np.ndarray


class Pictures(NamedTuple):
    """Where pictures of anomalous images go, and in what form; see `write_maps`."""

    folder: Path
    raw: str
    max_value: int


def write_maps(
    folder: Path,
    images: Iterable[Mapped],
    pixel_threshold: float,
    raw: str = "none",
    max_value: int = 65535,
) -> int:
    """Writes a picture for each image, and `regions.csv` with the boxes of anomalous regions.

    The picture shows the map over the image, at the image's own size, with a contour around the
    pixels above the threshold. The colours mean the same in all pictures of a model. The boxes are
    in pixels of the image.

    Args:
        folder: Where to write. The picture of "in/a.jpg" is "in/a.jpg.png".
        images: The images with their maps, read one by one.
        pixel_threshold: The value of the map above which a pixel is anomalous.
        raw: Whether each map is also written as numbers, float32 of the image's size: "npy",
            "tiff", or "none".
        max_value: The value of white in files of 16 bits.

    Returns:
        The number of images that have an anomalous region.
    """
    rows: list[tuple] = []
    for image in images:
        values = write_map(folder, image, pixel_threshold, raw, max_value)
        rows += [(image.name, *region) for region in find_regions(values, pixel_threshold)]
    columns = {column: [row[k] for row in rows] for k, column in enumerate(_COLUMNS)}
    write_csv(folder / REGIONS, columns)
    return len({name for name, *_ in rows})


def write_map(
    folder: Path, image: Mapped, pixel_threshold: float, raw: str, max_value: int
) -> np.ndarray:
    """Writes the picture of one image; arguments as in `write_maps`.

    Returns:
        The map at the image's own size, float32 `(height, width)`.
    """
    pixels = _read(image.source, max_value)
    values = tf.image.resize(image.anomaly_map[..., None], pixels.shape[:2]).numpy()[..., 0]
    top = choose_top(pixel_threshold, [values])
    overlay = draw_overlay(pixels, values, top, pixel_threshold)
    path = folder / f"{_safe(image.name)}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Image.fromarray(overlay).save(temporary)
    _write_raw(path.with_suffix(f".{raw}"), values, raw)
    return values


def _safe(name: Any) -> Path:
    """The name as a path inside of the folder."""
    path = Path(str(name))
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"Expected a path inside of the images' folder. Received: {name}")
    return path


def _read(source, max_value):
    """The pixels of an image at its own size, `(height, width, 1 or 3)`."""
    if isinstance(source, np.ndarray):
        return source
    size = inspect_image(source).size
    return decode_content(Path(source).read_bytes(), (*size, 3), max_value)


def _write_raw(path, values, raw):
    if raw == "none":
        return
    with atomic_path(path) as temporary:
        if raw == "npy":
            np.save(temporary, values)
        else:
            Image.fromarray(values, "F").save(temporary)
