"""Warnings about training that failed; each says what to do."""

import warnings

import numpy as np


def warn_if_collapsed(scores: np.ndarray, latents: np.ndarray) -> None:
    """Warns if all held-out normal images have the same latent vector or score.

    Args:
        scores: Their scores, `(n,)`.
        latents: Their latent vectors, `(n, latent_dim)`.
    """
    if not np.isfinite(latents).all():
        _warn(
            "The model's latent vectors are not finite: training has diverged. Train again with "
            "a lower learning rate."
        )
    elif len(scores) > 1 and np.ptp(latents, axis=0).max() < 1e-3:
        _warn(
            "The latent vectors of all held-out images are equal: the encoder has collapsed. "
            "Train longer, lower the learning rate, raise `image_weight`, or use "
            "`fixed_latent_target=True`."
        )
    elif len(scores) > 1 and np.ptp(scores) <= 1e-6 * np.abs(scores).max():
        _warn(
            "The scores of all held-out images are equal, so no threshold can separate images. "
            "Train longer, lower the learning rate, or use the other `score`."
        )


def warn_if_inverted(auroc: float | None) -> None:
    """Warns if anomalous test images score lower than normal ones.

    Args:
        auroc: Area under the ROC curve, or None if the test set has only one class.
    """
    if auroc is not None and auroc < 0.5:
        _warn(
            f"Separation is inverted: AUROC {auroc:.3f} is below 0.5, so anomalies score lower "
            "than normal images. Check which class is the normal one, or use "
            "`schedule='floored_inverse_epoch'` (recipe 'default'), fewer epochs, or "
            "`score='image'`."
        )


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)
