"""The regions of an anomaly map that lie above a threshold, as boxes."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage  # a dependency of scikit-learn

# Pixels that touch at a corner are connected, as in MVTec's evaluation.
TOUCHING = np.ones((3, 3), bool)


class Region(NamedTuple):
    """The smallest box around connected pixels above a threshold, in pixels of the map.

    Args:
        x: Its leftmost column, from 0.
        y: Its topmost row, from 0.
        width: Its number of columns, at least 1.
        height: Its number of rows, at least 1.
        peak: The highest value of its pixels.
    """

    x: int
    y: int
    width: int
    height: int
    peak: float


def find_regions(anomaly_map: np.ndarray, threshold: float) -> list[Region]:
    """Finds the connected regions of a map above a threshold. Corners that touch connect.

    Args:
        anomaly_map: Floats `(height, width)`. A pixel that is NaN is not above any threshold.
        threshold: A pixel counts if its value is higher, as with a model's `pixel_threshold`.

    Returns:
        The regions, the highest peak first; of equal peaks, the one further up and left. Empty if
        no pixel is above the threshold, as with +inf.

    Example:
        >>> find_regions(np.array([[0.0, 3.0, 0.0], [2.0, 0.0, 0.0]]), threshold=1.0)
        [Region(x=0, y=0, width=2, height=2, peak=3.0)]
    """
    labels, _ = ndimage.label(anomaly_map > threshold, structure=TOUCHING)
    regions = []
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[rows, columns] == label
        peak = float(anomaly_map[rows, columns][inside].max())
        size = columns.stop - columns.start, rows.stop - rows.start
        regions.append(Region(columns.start, rows.start, *size, peak))
    return sorted(regions, key=lambda region: (-region.peak, region.y, region.x))
