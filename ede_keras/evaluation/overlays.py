"""Draws an anomaly map over its image: heat, the contour of what is anomalous, the mask."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import ndimage  # a dependency of scikit-learn

from ede_keras.evaluation.regions import TOUCHING

# RGB. The heat goes from yellow to red, so neither colour of the lines occurs in it.
HEAT = np.array([[255, 225, 60], [255, 130, 0], [215, 0, 20]], "float32")
CONTOUR, MASK = (0, 229, 255), (255, 64, 255)
EDGE = (0, 0, 0)  # around both lines, so that they are seen on their own colour, too
OPACITY = 0.5  # of full heat; the image stays visible below it
HEAT_BEGINS = 0.25  # of `top`: with twice the pixel threshold as `top`, at half of the threshold
WIDE_FROM = 300  # pixels of the longer side from which a line is two pixels wide


def choose_top(pixel_threshold: float, maps: Iterable[np.ndarray]) -> float:
    """Chooses the map value that has full heat in all overlays of a run.

    It is twice the pixel threshold. If that is not finite and positive, as in a model that is not
    calibrated, it is the highest value of the maps.

    Args:
        pixel_threshold: The model's.
        maps: All maps of the run in batches, floats `(n, height, width)`. Read only if the pixel
            threshold does not give the value, so a generator costs nothing.

    Returns:
        A positive float.
    """
    if 0 < pixel_threshold < np.inf:
        return 2 * pixel_threshold
    highest = max(float(np.max(batch, initial=0, where=np.isfinite(batch))) for batch in maps)
    return highest or 1.0


def fit_map(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resizes a map or a mask so that nothing small is lost.

    Args:
        values: Numbers or bools `(h, w)`.
        size: `(height, width)` of the result.

    Returns:
        Array of that size and the same dtype. If it is smaller, each pixel is the highest of those
        that fall into it; if it is larger, pixels are repeated.
    """
    for axis, length in enumerate(size):
        starts = np.arange(length) * values.shape[axis] // length
        values = np.maximum.reduceat(values, starts, axis=axis)
    return values


def draw_overlay(
    image: np.ndarray,
    anomaly_map: np.ndarray,
    top: float,
    pixel_threshold: float,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """Draws the heat of a map over its image, and outlines what is anomalous.

    The heat begins at a quarter of `top`, so a normal image stays as it is. The contour of the
    pixels above the threshold is light blue, the outline of the mask pink. Both lie inside of what
    they outline, and have a black edge outside of it.

    Args:
        image: Array `(h, w, 1 or 3)` of any numeric dtype, 0 to 255.
        anomaly_map: Floats; resized to the image by `fit_map` if its size differs.
        top: The map value that has full heat, positive. Use the same for all images of a run, that
            of `choose_top`.
        pixel_threshold: The value of the map above which a pixel is anomalous; with +inf there is
            no contour.
        mask: bool, true for anomalous pixels, resized like the map. None if the image has none.

    Returns:
        uint8 `(h, w, 3)`, RGB.
    """
    size = image.shape[:2]
    values = fit_map(anomaly_map, size)
    begin = HEAT_BEGINS * top
    heat = np.clip((np.nan_to_num(values, posinf=top) - begin) / (top - begin), 0, 1)
    steps = np.linspace(0, 1, len(HEAT))
    colour = np.stack([np.interp(heat, steps, channel) for channel in HEAT.T], axis=-1)
    # Opacity rises faster than the heat, or its beginning would hardly be seen.
    opacity = OPACITY * np.sqrt(heat)[..., None]
    pixels = np.broadcast_to(image, (*size, 3)) * (1 - opacity) + colour * opacity
    overlay = np.clip(np.round(pixels), 0, 255).astype("uint8")
    width = 2 if max(size) >= WIDE_FROM else 1
    if mask is not None:
        _outline(overlay, fit_map(mask, size), MASK, width)
    _outline(overlay, values > pixel_threshold, CONTOUR, width)
    return overlay


def _outline(pixels, inside, colour, width):
    """Draws a line within the border of a bool area `(h, w)`, and an edge around it, in place."""
    pixels[ndimage.binary_dilation(inside, TOUCHING) & ~inside] = EDGE
    pixels[inside & ~ndimage.binary_erosion(inside, TOUCHING, iterations=width)] = colour
