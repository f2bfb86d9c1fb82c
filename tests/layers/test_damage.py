"""Damaged images for phase 2's form "restoration"."""

import numpy as np
import pytest

from ede_keras.layers import damage


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (400, 16, 16, 3)).astype("float32")


def test_a_share_of_the_images_has_a_rectangle(images):
    found = np.asarray(damage.damage(images, 0.3, 5))
    changed = (found != images).any(axis=-1)
    is_damaged = changed.any(axis=(1, 2))
    assert is_damaged.mean() == pytest.approx(0.3, abs=0.06)
    for mask in changed[is_damaged]:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask[np.ix_(rows, columns)].all()  # a whole rectangle
        for side in (rows, columns):
            assert len(side) == np.ptp(side) + 1 <= 0.5 * 16 + 1


def test_a_rectangle_shows_another_image_or_one_colour(images):
    found = np.asarray(damage.damage(images, 1.0, 5))
    other = np.roll(images, [1, 4], [0, 2])
    kinds = []
    for before, after, stranger in zip(images, found, other, strict=True):
        inside = (before != after).any(axis=-1)
        if not inside.any():
            continue  # a rectangle narrower than a pixel
        if np.array_equal(after[inside], stranger[inside]):
            kinds.append("image")
        else:
            assert np.ptp(after[inside], axis=0).max() == 0
            kinds.append("colour")
    assert len(kinds) > 390
    assert kinds.count("image") / len(kinds) == pytest.approx(0.5, abs=0.1)


def test_no_share_no_damage_and_the_step_alone_decides(images):
    np.testing.assert_array_equal(damage.damage(images, 0.0, 5), images)
    again, other = damage.damage(images, 0.5, 5), damage.damage(images, 0.5, 6)
    np.testing.assert_array_equal(damage.damage(images, 0.5, 5), again)
    assert np.any(np.asarray(again) != other)


def test_noise_of_rows():
    rows = np.zeros((500, 40), "float32")
    found = np.asarray(damage.add_noise(rows, 0.4, 1))
    is_damaged = found.any(axis=1)
    assert is_damaged.mean() == pytest.approx(0.4, abs=0.07)
    assert found[is_damaged].std() == pytest.approx(damage.NOISE, rel=0.05)
