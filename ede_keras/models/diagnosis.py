"""Learning that failed, said aloud: each warning names the remedy."""

import warnings

import numpy as np


def warn_if_collapsed(scores, latents):
    """Warns when held-out normal images all look the same to the model.

    Args:
        scores: Their scores, `(n,)`.
        latents: Their latent vectors, `(n, latent_dim)`.
    """
    if not np.isfinite(latents).all():
        _warn(
            "The model's latent vectors are not finite: training has diverged. Train anew with "
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
            "The scores of all held-out images are equal, so no threshold can tell images apart. "
            "Train longer, lower the learning rate, or use the other `score`."
        )


def warn_if_inverted(auroc):
    """Warns when anomalous test images score lower than normal ones.

    Args:
        auroc: Area under the ROC curve, or None where the test set has one class.
    """
    if auroc is not None and auroc < 0.5:
        _warn(
            f"Separation is inverted: AUROC {auroc:.3f} is below 0.5, anomalies score lower than "
            "normal images. Use `schedule='floored_inverse_epoch'` (recipe 'default'), fewer "
            "epochs, or `score='image'`; check which class is the normal one."
        )


def _warn(message):
    warnings.warn(message, stacklevel=3)
