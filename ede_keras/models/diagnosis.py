"""Warnings about training that failed; each says what to do."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

# Of the variance of normal images; with less the map of drawn parts with scratches was no better
# than chance.
LEAST_EXPLAINED = 0.5
# How many times as high as Equations (1) and (2) healthy training does not drive Equation (3).
RUNAWAY = 10
# Below this reliability a term of the pretext says little. Flat images have less than .05, and all
# classes and parts that were measured have 1.
LEAST_RELIABLE = 0.25
# What may help, by argument: the value to set, and how to say it.
_REMEDIES = {
    "image_weight": (None, "raise `image_weight`"),
    "fixed_latent_target": (True, "use `fixed_latent_target=True`"),
    "schedule": ("floored_inverse_epoch", "use `schedule='floored_inverse_epoch'`"),
    "score": ("image", "use `score='image'`"),
    "phase2_form": ("bounded", "use `phase2_form='bounded'`"),
    "phase_floor": (None, "raise `phase_floor`"),
}


def find_remedies(names: tuple[str, ...], model: Any = None) -> list[str]:
    """What to do, in words: arguments that affect the model and differ from the advised value.

    Args:
        names: Arguments that may help.
        model: A detector; None if nothing is known about it.
    """
    model = getattr(model, "detector", model)  # what a tiled detector has inside
    remedies = []
    for name in names:
        value, words = _REMEDIES[name]
        acts = name not in getattr(model, "unused_arguments", ())
        if acts and (model is None or value is None or getattr(model, name, None) != value):
            remedies.append(words)
    return remedies


def warn_if_collapsed(scores: np.ndarray, latents: np.ndarray, model: Any = None) -> None:
    """Warns if all held-out normal images have the same latent vector or score.

    Args:
        scores: Their scores, `(n,)`.
        latents: Their latent vectors, `(n, latent_dim)`.
        model: The detector, if it is known.
    """
    if not np.isfinite(latents).all():
        _warn(
            "The model's latent vectors are not finite: training has diverged. Train again with "
            "a lower learning rate."
        )
    elif len(scores) > 1 and np.ptp(latents, axis=0).max() < 1e-3:
        _warn(
            "The latent vectors of all held-out images are equal: the encoder has collapsed. "
            "Try any of these: train longer, lower the learning rate"
            + "".join(
                f", {r}" for r in find_remedies(("image_weight", "fixed_latent_target"), model)
            )
            + "."
        )
    elif len(scores) > 1 and np.ptp(scores) <= 1e-6 * np.abs(scores).max():
        _warn(
            "The scores of all held-out images are equal, so no threshold can separate images. "
            "Try any of these: train longer, lower the learning rate"
            + "".join(f", {r}" for r in find_remedies(("score",), model))
            + "."
        )


def warn_if_running_away(
    epoch: int, adversarial: float, reconstruction: float, model: Any = None
) -> bool:
    """Warns if EDE1 drives Equation (3) far above what EDE2 can answer; returns whether it does.

    Args:
        epoch: The epoch that has ended, from 0.
        adversarial: Equation (3), the epoch's mean.
        reconstruction: The mean of Equations (1) and (2).
        model: The detector, if it is known.
    """
    times = adversarial / max(reconstruction, 1e-12)
    if times > RUNAWAY:
        _warn(
            f"EDE1 runs away in phase 2: after epoch {epoch + 1} Equation (3) is {times:.0f} "
            "times as high as Equations (1) and (2), so x2' shows no image and its terms of the "
            "score tell little. Try any of these: lower the learning rate"
            + "".join(f", {r}" for r in find_remedies(("phase2_form", "phase_floor"), model))
            + "."
        )
    return times > RUNAWAY


def warn_if_blurred(images: np.ndarray, reconstructions: np.ndarray) -> None:
    """Warns if held-out normal images are reconstructed so poorly that a map tells little.

    Args:
        images: Held-out normal images, `(n, height, width, channels)`, 0 to 255.
        reconstructions: Of the same shape and scale.
    """
    images = np.asarray(images, "float64")
    total = np.square(images - images.mean()).sum()
    explained = 1 - np.square(images - reconstructions).sum() / total if total else 1.0
    if explained < LEAST_EXPLAINED:
        _warn(
            f"The tiles' reconstructions explain {max(explained, 0):.0%} of what varies in "
            "held-out normal images, so the anomaly map hardly shows where an image is anomalous. "
            "Use recipe features, train longer, or leave the tiles out."
        )


def warn_if_unreliable(reliability: Mapping[str, float]) -> None:
    """Warns if a term of the pretext says little about held-out normal images.

    Args:
        reliability: From 0 to 1, by term, as `Pretext.reliability` returns it.
    """
    for name, value in reliability.items():
        if value < LEAST_RELIABLE:
            _warn(
                f"The pretext says little about held-out normal images: its term {name!r} counts "
                f"{value:.0%} of its weight. Train longer; if the images look alike in all "
                "directions, as round parts do, use recipe features or `pretext='none'`."
            )


def warn_if_inverted(auroc: float | None, model: Any = None) -> None:
    """Warns if anomalous test images score lower than normal ones.

    Args:
        auroc: Area under the ROC curve, or None if the test set has only one class.
        model: The detector, if it is known.
    """
    if auroc is not None and auroc < 0.5:
        _warn(
            f"Separation is inverted: AUROC {auroc:.3f} is below 0.5, so anomalies score lower "
            "than normal images. Check which class is the normal one, or try any of these: "
            "train fewer epochs"
            + "".join(f", {r}" for r in find_remedies(("schedule", "score"), model))
            + "."
        )


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)
