"""EDE1 must not run away in phase 2, however few the images are and however often it sees them."""

import warnings

import numpy as np
import pytest

import ede_keras


def photographs(n, seed):
    """n colour images of a ring in changing light."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    images = []
    for _ in range(n):
        radius = np.hypot(x - rng.normal(16, 0.6), y - rng.normal(16, 0.6))
        image = np.where((radius > 5) & (radius < 11), 165, 65)[..., None] * np.ones(3)
        slope = (x / 32 - 0.5) * rng.uniform(-0.3, 0.3)
        image = image * (1 + rng.uniform(-0.15, 0.15) + slope)[..., None]
        images.append(image + rng.normal(0, 2, image.shape))
    return np.clip(images, 0, 255).astype("uint8")


def train(n, form, **changes):
    """`(x to x2', x to x2, warnings)` of held-out photographs after training on n."""
    train, held_out = photographs(n, 0), photographs(12, 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, _ = ede_keras.fit_recipe(
            "default_no_pretext", train, seed=0, verbose=0, phase2_form=form, **changes
        )
    x = held_out / 127.5 - 1
    x2 = model.reconstruct(held_out) / 127.5 - 1
    far = float(model.compute_terms(held_out)["x_x2p"].mean())
    return far, float(np.square(x - x2).mean()), [str(w.message) for w in caught]


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 24])
def test_the_bounded_contest_stays_near_the_images(n):
    far, near, said = train(n, "bounded")
    assert far < 10 * near
    assert not any("runs away" in message for message in said)


@pytest.mark.slow
def test_the_contest_as_printed_runs_away_and_says_so_once():
    far, near, said = train(24, "printed", epochs=14)
    assert far > 10 * near
    assert sum("EDE1 runs away" in m and "use `phase2_form='bounded'`" in m for m in said) == 1
