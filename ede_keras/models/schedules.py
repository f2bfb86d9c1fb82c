"""The weight of phase 1 at epoch n, Equations (6) and (7), and a bounded form of it."""

from typing import Any

from keras import ops


def inverse_epoch(n: Any) -> Any:
    """w(n) = 1/n, as printed in Equations (6) and (7), for the epoch n counted from 1.

    From n = 3 on phase 2 has the larger weight and drives EDE1's decoder away from the images.
    """
    return 1.0 / ops.cast(n, "float32")


def floored_inverse_epoch(n: Any, floor: float) -> Any:
    """w(n) = max(1/n, floor). With a floor of 0.5 or more phase 2 never outweighs phase 1."""
    return ops.maximum(inverse_epoch(n), floor)
