"""Masks of a folder, and metrics of anomaly maps compared with slow loops."""

import itertools

import numpy as np
import pytest
from makers import write_image

from ede_keras.evaluation import masks

SIZE = masks.SIZE


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


def test_masks_of_a_folder(tmp_path):
    mask = np.zeros((64, 64, 1), np.uint8)
    mask[:32] = 255
    for name in ("crack/000_mask.png", "hole/001.png"):
        (tmp_path / "ground_truth" / name).parent.mkdir(parents=True)
        write_image(tmp_path / "ground_truth" / name, mask)
    files = ["test/good/000.png", "test/crack/000.png", "test/crack/001.png", "test/hole/001.png"]
    drawn, known = masks.load_masks(tmp_path, files, np.array([0, 1, 1, 1]))
    np.testing.assert_array_equal(known, [True, True, False, True])
    assert drawn.shape == (3, SIZE, SIZE) and not drawn[0].any()
    for found in drawn[1:]:
        assert found[: SIZE // 2].all() and not found[SIZE // 2 :].any()
    (tmp_path / "ground_truth/crack/000_mask.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="Skipped 1 damaged masks, such as .*000_mask.png"):
        drawn, known = masks.load_masks(tmp_path, files, np.array([0, 1, 1, 1]))
    np.testing.assert_array_equal(known, [True, False, False, True])
    assert len(drawn) == 2
    assert masks.load_masks(tmp_path, files[:1], np.array([0])) is None
    assert masks.find_mask(tmp_path, "train/crack/000.png") is None
