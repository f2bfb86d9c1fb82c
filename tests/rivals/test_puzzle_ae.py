"""Puzzle-AE: puzzles, the attack, the loss and the score by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ede_keras.rivals import RIVALS, puzzle_ae


@pytest.fixture
def make():
    def make(shape=(16, 16, 1), **arguments):
        keras.utils.set_random_seed(0)
        return RIVALS["puzzle_ae"](shape, **{"base_width": 4, **arguments})

    return make


def puzzle(image, order):
    """Place k, row by row, has the quarter that was in place `order[k]`."""
    half = image.shape[0] // 2
    corners = [(0, 0), (0, half), (half, 0), (half, half)]
    found = np.empty_like(image)
    for (row, column), k in zip(corners, order, strict=True):
        top, left = corners[k]
        found[row : row + half, column : column + half] = image[
            top : top + half, left : left + half
        ]
    return found


def test_quarters():
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype("float32")
    quarters = puzzle_ae.to_quarters(images)
    np.testing.assert_array_equal(quarters[1, 2], images[1, 4:, :4])
    np.testing.assert_array_equal(puzzle_ae.from_quarters(quarters), images)
    order = [2, 0, 3, 1]
    again = puzzle_ae.from_quarters(tf.gather(quarters, order, axis=1))
    np.testing.assert_array_equal(again[2], puzzle(images[2], order))


def test_orders():
    """All but the right one; nine of them leave no quarter in its place."""
    assert len({tuple(order) for order in puzzle_ae.ORDERS}) == 23
    assert all(sorted(order) == [0, 1, 2, 3] for order in puzzle_ae.ORDERS)
    assert [0, 1, 2, 3] not in puzzle_ae.ORDERS.tolist()
    assert len(puzzle_ae.SCORED) == 9
    assert all(k != order[k] for order in puzzle_ae.SCORED for k in range(4))


def test_the_score(make, x):
    model = make()
    terms, z, mean = model.score_terms(x)
    for i, image in enumerate(x):
        puzzles = np.stack([puzzle(image, order) for order in puzzle_ae.SCORED])
        solved = np.asarray(model.unet(puzzles, training=False)[1], "float64")
        expected = np.mean([np.square(image - one).mean() for one in solved])
        np.testing.assert_allclose(terms["residual"][i], expected, rtol=1e-4)
        np.testing.assert_allclose(mean[i], solved.mean(axis=0), atol=1e-5)
    assert z.shape[0] == len(x) and len(z.shape) == 2


def test_the_loss_without_an_attack(make, x, monkeypatch):
    """Each image has an order of its own, and none the right one."""
    model, seen = make(), []
    monkeypatch.setattr(model, "attack", lambda puzzles, x: seen.append(puzzles) or puzzles)
    loss = model.training_loss(x)
    orders = []
    for image, shown in zip(x, np.asarray(seen[0]), strict=True):
        made = [puzzle(image, order) for order in puzzle_ae.ORDERS]
        (k,) = [k for k, one in enumerate(made) if np.array_equal(one, shown)]
        orders.append(k)
    assert len(set(orders)) > 1
    solved = np.asarray(model.unet(seen[0], training=True)[1], "float64")
    np.testing.assert_allclose(loss, np.square(x - solved).mean(), rtol=1e-4)


@pytest.mark.parametrize(("shape", "reach"), [((16, 16, 1), 0.2), ((32, 32, 3), 20 / 255)])
def test_the_attack_is_bounded_and_raises_the_loss(make, shape, reach):
    model = make(shape)
    x = np.random.default_rng(0).uniform(-1, 1, (8, *shape)).astype("float32")
    puzzles = x[:, ::-1]
    attacked = np.asarray(model.attack(puzzles, x))
    moved = np.abs(attacked - puzzles)
    assert moved.max() <= reach + 1e-6 and np.abs(attacked).max() <= 1
    # All pixels with a gradient go as far as they may.
    inside = np.abs(puzzles) < 1 - reach
    assert np.median(moved[inside]) == pytest.approx(reach, abs=1e-5)
    noise = np.random.default_rng(1).uniform(-reach, reach, x.shape).astype("float32")
    losses = [
        np.square(x - np.asarray(model.unet(images)[1])).mean()
        for images in (attacked, np.clip(puzzles + noise, -1, 1))
    ]
    assert losses[0] > losses[1]


def test_memory_counts_all_puzzles(make):
    """Batches are smaller by the number of puzzles."""
    assert make().scale_batch_size(90) == 10


@pytest.mark.parametrize(("size", "inner"), [(16, 2), (24, 3), (32, 2), (128, 8)])
def test_the_u_net_halves_at_most_four_times(make, size, inner):
    model = make(image_size=size)
    assert model.unet.output_shape[0][1:3] == (inner, inner)
    assert model.unet.output_shape[1][1:] == (size, size, 1)


@pytest.mark.filterwarnings("ignore:The images' highest pixel")
@pytest.mark.parametrize("value", [0, 255])
def test_two_images_of_one_value(make, value):
    images = np.full((2, 16, 16, 1), value, "uint8")
    model = make()
    history = model.fit(images, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    model.set_threshold(0)
    assert np.isfinite(model.predict(images, verbose=0)["score"]).all()
