"""Metrics of anomaly maps compared with slow loops."""

import itertools

import numpy as np
import pytest

from ede_keras.data.mask_files import SIZE
from ede_keras.evaluation import masks


def regions_of(mask):
    """Connected regions by flood fill, with corners; a list of lists of pixels."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        region, border = [], [left.pop()]
        while border:
            y, x = border.pop()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            border += near
        found.append(region)
    return found


def aupro_by_loops(maps, truth):
    """AUPRO from the mean overlap at every threshold, with the trapezoidal rule up to 0.3."""
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        called = maps >= threshold
        overlaps = [
            np.mean([called[i, y, x] for y, x in region])
            for i in range(len(maps))
            for region in regions_of(truth[i])
        ]
        points.append((called[~truth].mean(), np.mean(overlaps)))
    area = 0
    for (fpr, overlap), (next_fpr, next_overlap) in itertools.pairwise(points):
        stop = min(next_fpr, 0.3)
        if stop > fpr:
            share = (stop - fpr) / (next_fpr - fpr)
            area += (stop - fpr) * (overlap + share * (next_overlap - overlap) / 2)
    return area / 0.3


def test_aupro_and_auroc_of_pixels():
    rng = np.random.default_rng(0)
    coarse = np.zeros((3, 32, 32), bool)
    coarse[0, 3:5, 4:9] = coarse[0, 5, 9] = True  # joined by a corner
    coarse[0, 20:30, 20:25] = coarse[1, 10, 10] = True
    scores = (rng.integers(0, 6, coarse.shape) + 3 * coarse * rng.random(coarse.shape)).round(1)
    found = masks.compare_maps(scores.astype("float32"), coarse)
    assert [len(regions_of(mask)) for mask in coarse] == [2, 1, 0]
    assert found["pixel_aupro"] == pytest.approx(aupro_by_loops(scores, coarse), abs=1e-4)
    higher = (scores[coarse][:, None] > scores[~coarse]).mean()
    equal = (scores[coarse][:, None] == scores[~coarse]).mean()
    assert found["pixel_auroc"] == pytest.approx(higher + equal / 2, abs=1e-6)


def test_perfect_and_useless_maps():
    truth = np.zeros((2, 32, 32), bool)
    truth[0, 4:9, 4:9] = True
    perfect = masks.compare_maps(truth.astype("float32"), truth)
    assert perfect == {"pixel_auroc": 1.0, "pixel_aupro": 1.0}
    flat = masks.compare_maps(np.ones((2, 32, 32), "float32"), truth)
    assert flat["pixel_auroc"] == 0.5 and flat["pixel_aupro"] == pytest.approx(0.15)


def test_maps_are_resized_to_the_masks():
    truth = np.zeros((1, SIZE, SIZE), bool)
    truth[0, :128, :128] = True
    maps = np.zeros((1, 2, 2), "float32")
    maps[0, 0, 0] = 1
    assert masks.compare_maps(maps, truth)["pixel_auroc"] > 0.99
