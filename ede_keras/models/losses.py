"""Equations (1) to (7), one function each; all take batches and return a scalar.

The symbols are the paper's: `x` is an image and `z` its latent vector; `x_i` and `z_i` are EDE i's
reconstructions of them; `x2p` and `z2p` (x2', z2') are those of EDE1's decoder from EDE2's latent
vector. Images lie in [-1, 1].
"""

from typing import Any

from keras import ops


def distance(a: Any, b: Any, norm: str = "l1") -> Any:
    """d(a, b) of each pair in a batch: the mean absolute ("l1") or squared ("l2") difference.

    The mean over the elements makes image and latent terms comparable, whatever their sizes.

    Args:
        a: Tensor `(n, ...)`.
        b: Tensor of the same shape.
        norm: "l1" or "l2".

    Returns:
        float32 tensor `(n,)`, not negative.
    """
    return _mean_difference(a, b, norm, tuple(range(1, len(a.shape))))


def distance_by_place(a: Any, b: Any, norm: str = "l1") -> Any:
    """d(a, b) at each place, `(n, places)`, for tensors `(n, places, channels)`."""
    return _mean_difference(a, b, norm, -1)


def _mean_difference(a, b, norm, axis):
    difference = ops.cast(a, "float32") - ops.cast(b, "float32")
    elements = ops.abs(difference) if norm == "l1" else ops.square(difference)
    return ops.mean(elements, axis=axis)


def reconstruction_loss(
    x: Any,
    x_i: Any,
    z: Any,
    z_i: Any,
    image_weight: float,
    latent_weight: float,
    norm: str = "l1",
) -> Any:
    """Equations (1) and (2): rec_i = α d(x, x_i) + β d(z, z_i), averaged over the batch."""
    return ops.mean(image_weight * distance(x, x_i, norm) + latent_weight * distance(z, z_i, norm))


def adversarial_objective(
    x: Any,
    x2p: Any,
    z: Any,
    z2p: Any,
    image_weight: float,
    latent_weight: float,
    norm: str = "l1",
) -> Any:
    """Equation (3): adv = α d(x, x2') + β d(z, z2'). EDE2 minimizes it, EDE1 maximizes it."""
    return reconstruction_loss(x, x2p, z, z2p, image_weight, latent_weight, norm)


def ede1_adversarial_loss(adversarial: Any) -> Any:
    """Equation (4): EDE1's loss in phase 2, −adv."""
    return -adversarial


def ede2_adversarial_loss(adversarial: Any) -> Any:
    """Equation (5): EDE2's loss in phase 2, +adv."""
    return adversarial


def ede1_loss(reconstruction: Any, adversarial: Any, phase_weight: Any) -> Any:
    """Equation (6): w rec_1 − (1 − w) adv, with w = 1/n as printed."""
    return phase_weight * reconstruction + (1 - phase_weight) * ede1_adversarial_loss(adversarial)


def ede2_loss(reconstruction: Any, adversarial: Any, phase_weight: Any) -> Any:
    """Equation (7): w rec_2 + (1 − w) adv, with w = 1/n as printed."""
    return phase_weight * reconstruction + (1 - phase_weight) * ede2_adversarial_loss(adversarial)
