"""What the report holds of each image: its pictures, its regions, its parts of the score."""

import base64
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping

import numpy as np

from ede_keras.evaluation import thumbnails
from ede_keras.evaluation.overlays import draw_overlay
from ede_keras.evaluation.regions import find_regions
from ede_keras.models.detector import AnomalyDetector

MAX_IMAGES = 5000  # with more, there is too little room for a picture
MAX_BYTES = 30_000_000  # of the page
FIXED_BYTES = 1_000_000  # kept for what is not a row of an image: plots, scores, scripts
BATCH_PIXELS = 2**20  # of all images that are in memory at the same time, about 50 bytes each
MAX_REGIONS = 20  # of an image, those with the highest peaks


@dataclasses.dataclass(frozen=True)
class ScoredImages:
    """Images with the scores and labels that a model gave them.

    Args:
        images: Array `(n, height, width, channels)` of any numeric dtype, 0 to 255. An array on
            disk, `np.memmap`, is read batch by batch.
        ids: Path or index of each image, `(n,)`.
        scores: float32 `(n,)`, higher means more anomalous.
        labels: int32 `(n,)`, 1 if the score is above the threshold, else 0.
        true_labels: Integers `(n,)`, 1 for anomalous, 0 for normal. None if unknown.
        parts: Each term's part of the scores, floats `(n,)` by name; the score is their sum.
        masks: Mask of each image that has one, by its id: bool `(h, w)` of any size, true for
            anomalous pixels.
    """

    images: np.ndarray
    ids: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray | None
    parts: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]


def select_shown(scored: ScoredImages) -> np.ndarray:
    """Selects the images to show: all of them, if they are at most 5,000.

    Of more, the mistakes come first and then the highest scores.

    Args:
        scored: As in `write_report`.

    Returns:
        Their positions, ascending.
    """
    mistaken = np.zeros(len(scored.scores), bool)
    if scored.true_labels is not None:
        mistaken = scored.labels != scored.true_labels
    return np.sort(np.lexsort((-scored.scores, ~mistaken))[:MAX_IMAGES])


def name_views(model: AnomalyDetector) -> list[str]:
    """The pictures of each image; a model that sees images by a backbone cannot reconstruct."""
    middle = ["reconstruction"] if model.graph.reconstruction is not None else []
    return ["image", *middle, "overlay"]


def render_rows(
    model: AnomalyDetector, scored: ScoredImages, shown: np.ndarray, top: float
) -> Iterator[str]:
    """Renders what the page holds of each image, batch by batch.

    Args:
        model: As in `write_report`.
        scored: As in `write_report`.
        shown: Positions of the images to show.
        top: As in `draw_overlay`.

    Yields:
        A JSON object without "<": `i`, the position; `name`; `parts`, in the order of the terms,
        null if not finite; `regions`, at most 20 of `find_regions`; `n_regions`, of all; `views`,
        a JPEG file in base64 for each of `name_views`.
    """
    names = name_views(model)
    row_bytes = (MAX_BYTES - FIXED_BYTES) / len(shown)
    shape = model.image_shape[:2]
    large = thumbnails.choose_size(shape, 0.6 * row_bytes / len(names))
    small = min(tuple(shape), large)  # the browser enlarges what has no lines
    for chosen, images in read_batches(scored, shown):
        maps, views = model.compute_maps(images), {"image": images}
        if "reconstruction" in names:
            views["reconstruction"] = model.reconstruct(images)
        for k, i in enumerate(chosen):
            name = str(scored.ids[i])
            regions = find_regions(maps[k], model.pixel_threshold)
            row = {
                "i": int(i),
                # Bytes in a file's name that are no text, as on the console.
                "name": name.encode(errors="backslashreplace").decode(),
                "parts": [round_finite(part[i], 5) for part in scored.parts.values()],
                "regions": [(*box, round_finite(peak, 5)) for *box, peak in regions[:MAX_REGIONS]],
                "n_regions": len(regions),
            }
            # Four characters of base64 are three bytes.
            room = 0.75 * (row_bytes - len(to_json(row)) - 50) / len(names)
            pixels = {view: thumbnails.resize(views[view][k], small) for view in names[:-1]}
            under = thumbnails.resize(images[k], large)
            mask = scored.masks.get(name)
            pixels["overlay"] = draw_overlay(under, maps[k], top, model.pixel_threshold, mask)
            row["views"] = [to_base64(thumbnails.encode(pixels[view], room)) for view in names]
            yield to_json(row)


def read_batches(
    scored: ScoredImages, shown: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads the images in batches that fit into memory, however large an image is.

    Args:
        scored: As in `write_report`.
        shown: Positions of the images.

    Yields:
        Some of the positions, and their images.
    """
    height, width = scored.images.shape[1:3]
    step = max(BATCH_PIXELS // (height * width), 1)
    for start in range(0, len(shown), step):
        chosen = shown[start : start + step]
        yield chosen, scored.images[chosen]


def round_finite(value: float, digits: int = 9) -> float | None:
    """A number with so many digits; None, which is JSON's null, for NaN and infinity."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def to_json(content: object) -> str:
    """JSON that may stand in a page: no text in it ends the script."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def to_base64(file: bytes) -> str:
    """A file as text."""
    return base64.b64encode(file).decode()
