"""The weight of phase 1 at epoch n, Equations (6) and (7), and its safer kin."""

from keras import ops

SCHEDULES = ("inverse_epoch", "floored_inverse_epoch")


def inverse_epoch(n):
    """w(n) = 1/n, as printed in Equations (6) and (7), for the epoch n counted from 1.

    From n = 3 on phase 2 outweighs phase 1, and EDE1's decoder is driven away from the images.
    """
    return 1.0 / ops.cast(n, "float32")


def floored_inverse_epoch(n, floor):
    """w(n) = max(1/n, floor): phase 2 enters as printed; from floor 0.5 on it never outweighs."""
    return ops.maximum(inverse_epoch(n), floor)
