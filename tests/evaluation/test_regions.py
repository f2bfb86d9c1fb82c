"""The regions of an anomaly map above a threshold."""

import numpy as np
import pytest

from ede_keras.evaluation.regions import Region, find_regions

NAN = float("nan")


def test_boxes_and_peaks_of_a_map_made_by_hand():
    found = find_regions(
        np.array(
            [
                [5, 0, 0, 0, 0, 0],
                [0, 6, 0, 0, 2, 2],  # touches the 5 at a corner
                [0, 0, 0, 0, 2, 3],
                [0, 0, 0, 0, 0, 0],
                [9, 0, 0, 0, 0, 1],  # the 1 is not above the threshold
            ],
            "float32",
        ),
        threshold=1.0,
    )
    assert found == [Region(0, 4, 1, 1, 9.0), Region(0, 0, 2, 2, 6.0), Region(4, 1, 2, 2, 3.0)]
    assert [type(value) for value in found[0]] == [int, int, int, int, float]


def test_a_box_that_holds_another_region_has_the_peak_of_its_own_pixels():
    ring = np.full((5, 5), 2.0)
    ring[1:4, 1:4] = 0
    ring[2, 2] = 7
    assert find_regions(ring, 1.0) == [Region(2, 2, 1, 1, 7.0), Region(0, 0, 5, 5, 2.0)]


def test_equal_peaks_are_ordered_by_place():
    values = np.array([[0, 0, 4], [0, 0, 0], [4, 0, 4.0]])
    assert [(r.y, r.x) for r in find_regions(values, 1.0)] == [(0, 2), (2, 0), (2, 2)]


@pytest.mark.parametrize("threshold", [8.0, 9.0, np.inf])
def test_nothing_above_the_threshold(threshold):
    assert find_regions(np.full((3, 4), 8.0), threshold) == []


def test_everything_above_the_threshold():
    assert find_regions(np.full((3, 4), 8.0), -np.inf) == [Region(0, 0, 4, 3, 8.0)]


def test_pixels_that_are_not_finite():
    values = np.array([[NAN, 2.0, NAN], [NAN, NAN, np.inf]])
    assert find_regions(values, 1.0) == [Region(1, 0, 2, 2, np.inf)]
    assert find_regions(np.full((2, 2), NAN), 1.0) == []
