"""Overlays of anomaly maps: where they change an image, and in which colours."""

import numpy as np
import pytest

from ede_keras.evaluation.overlays import CONTOUR, EDGE, MASK, choose_top, draw_overlay, fit_map


def gray(height=40, width=60, channels=1, level=100):
    return np.full((height, width, channels), level, np.uint8)


def where(overlay, colour):
    """The pixels of a colour, as rows and columns from first to last; and their number."""
    y, x = np.nonzero((overlay == colour).all(axis=-1))
    return (y.min(), y.max(), x.min(), x.max()), len(y)


def test_the_top_is_twice_the_threshold_and_reads_no_maps():
    assert choose_top(1.5, maps=iter(())) == 3.0


@pytest.mark.parametrize("threshold", [np.inf, -np.inf, 0.0, -2.0])
def test_the_top_without_such_a_threshold_is_the_highest_value(threshold):
    maps = [np.array([[[1.0, np.inf, np.nan]]]), np.array([[[4.0, 2.0, 3.0]]])]
    assert choose_top(threshold, iter(maps)) == 4.0
    assert choose_top(threshold, [np.full((1, 2, 2), -1.0)]) > 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64"])
def test_a_normal_image_stays_as_it_is(channels, dtype):
    image = np.random.default_rng(0).integers(0, 256, (7, 9, channels)).astype(dtype)
    overlay = draw_overlay(image, np.full((7, 9), 0.49), top=2.0, pixel_threshold=1.0)
    assert overlay.dtype == np.uint8 and overlay.shape == (7, 9, 3)
    np.testing.assert_array_equal(overlay, np.broadcast_to(image, (7, 9, 3)))


def test_heat_grows_up_to_the_top():
    values = np.tile(np.linspace(0, 4, 9), (3, 1))
    overlay = draw_overlay(gray(3, 9), values, top=2.0, pixel_threshold=np.inf)[1].astype(int)
    changes = np.abs(overlay - 100).sum(axis=-1)
    assert changes[0] == changes[1] == 0 and changes[2] > 10  # from half of the threshold on
    assert (overlay[4:] == overlay[4]).all()  # full heat
    green = overlay[2:5, 1]
    assert (np.diff(green) < 0).all()  # from yellow to red


def test_the_contour_outlines_the_pixels_above_the_threshold():
    values = np.zeros((40, 60))
    values[10:20, 30:50] = 1.5
    overlay = draw_overlay(gray(), values, top=2.0, pixel_threshold=1.0)
    assert where(overlay, CONTOUR) == ((10, 19, 30, 49), 2 * 20 + 2 * 8)
    assert where(overlay, EDGE)[0] == (9, 20, 29, 50)
    np.testing.assert_array_equal(overlay[:8], 100)
    # The line itself has to be seen on an image of its own colour.
    same = np.broadcast_to(np.array(CONTOUR, np.uint8), (40, 60, 3))
    assert where(draw_overlay(same, values, 2.0, 1.0), EDGE)[0] == (9, 20, 29, 50)


def test_lines_are_wider_in_a_large_image():
    values = np.zeros((400, 300))
    values[100:200, 100:200] = 1.5
    overlay = draw_overlay(gray(400, 300), values, top=2.0, pixel_threshold=1.0)
    assert where(overlay, CONTOUR) == ((100, 199, 100, 199), 100**2 - 96**2)


def test_the_mask_has_a_colour_of_its_own_and_any_size():
    mask = np.zeros((256, 256), bool)
    mask[64:128, :64] = True
    overlay = draw_overlay(gray(), np.zeros((40, 60)), 2.0, 1.0, mask)
    assert where(overlay, MASK)[0] == (10, 19, 0, 14)
    assert not (overlay == CONTOUR).all(axis=-1).any()


def test_no_contour_without_a_threshold():
    overlay = draw_overlay(gray(), np.full((40, 60), 9.0), top=9.0, pixel_threshold=np.inf)
    assert not (overlay == CONTOUR).all(axis=-1).any()


def test_a_broken_map_does_no_harm():
    values = np.full((40, 60), np.nan)
    values[0, 0] = np.inf
    overlay = draw_overlay(gray(), values, top=2.0, pixel_threshold=1.0)
    np.testing.assert_array_equal(overlay[5:], 100)


def test_no_spot_is_lost_when_a_map_shrinks():
    values = np.zeros((100, 90))
    values[57, 31] = 3
    small = fit_map(values, (10, 7))
    assert small.shape == (10, 7) and small.max() == 3 and np.count_nonzero(small) == 1
    assert small[5, 2] == 3
    large = fit_map(np.array([[True, False]]), (4, 6))
    assert large.dtype == bool and large.tolist() == [[True] * 3 + [False] * 3] * 4
