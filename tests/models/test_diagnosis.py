import warnings

import numpy as np
import pytest

from ede_keras.models import diagnosis

SPREAD = np.linspace(0, 1, 10)


def test_healthy_learning_says_nothing():
    diagnosis.warn_if_collapsed(SPREAD, np.outer(SPREAD, [1, -1]))
    diagnosis.warn_if_inverted(0.5)
    diagnosis.warn_if_inverted(None)


@pytest.mark.parametrize(
    ("scores", "latents", "message"),
    [
        (SPREAD, np.full((10, 3), 0.7), "encoder has collapsed.*fixed_latent_target"),
        (
            np.full(10, 0.2),
            np.outer(SPREAD, [1, 1]),
            "scores.*are equal.*Try any of these: train longer",
        ),
        (SPREAD, np.full((10, 3), np.nan), "not finite.*lower learning rate"),
    ],
)
def test_collapse_is_said_with_its_remedy(scores, latents, message):
    with pytest.warns(UserWarning, match=message):
        diagnosis.warn_if_collapsed(scores, latents)


def test_inversion_is_said_with_its_remedy():
    with pytest.warns(UserWarning, match="inverted: AUROC 0.300.*floored_inverse_epoch"):
        diagnosis.warn_if_inverted(0.3)


def test_poor_reconstructions_of_tiles_are_said():
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype("float64")
    half = (images + images.mean()) / 2  # explains three quarters
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnosis.warn_if_blurred(images, half)
        diagnosis.warn_if_blurred(images * 0, images * 0)
    with pytest.warns(UserWarning, match="explain 0% of what varies"):
        diagnosis.warn_if_blurred(images, np.full_like(images, images.mean()))
