"""What the arguments of `EDE` may be."""

import math

from ede_keras.errors import InputError
from ede_keras.layers.geometric_pretext import TRANSFORMATIONS
from ede_keras.models import losses, schedules
from ede_keras.models.trainer import PHASE2_UPDATES, UPDATES
from ede_keras.utils.validation import check_choice, check_range

SCORES = ("latent", "image")
PRETEXTS = ("none", *TRANSFORMATIONS)
CHOICES = {
    "norm": losses.NORMS,
    "schedule": schedules.SCHEDULES,
    "update": UPDATES,
    "phase2_updates": PHASE2_UPDATES,
    "score": SCORES,
    "pretext": PRETEXTS,
}
# The least that arguments may be; none may be infinite.
LEAST = {
    "latent_dim": 1,
    "base_width": 1,
    "image_weight": 0,
    "latent_weight": 0,
    "pretext_weight": 0,
    "pretext_views": 1,
    "memory_size": 1,
}


def to_shape(image_shape):
    """`(height, width, channels)` as a list of integers; raises an `InputError` if it is none."""
    image_shape = [int(side) for side in image_shape]
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise InputError(
            "`image_shape` must be (height, width, channels). "
            f"Received: image_shape={tuple(image_shape)}"
        )
    return image_shape


def check(config):
    """Raises an `InputError` that names the first argument which is none that `EDE` can use.

    Args:
        config: All of its arguments but the name, a dict.
    """
    for argument, allowed in CHOICES.items():
        check_choice(argument, config[argument], allowed)
    for argument in ("phase_floor", "omega1"):
        value = config[argument]
        check_range(argument, 0 <= value <= 1, value, "from 0 to 1")
    value = config["contamination"]
    check_range("contamination", 0 <= value < 1, value, "at least 0, below 1")
    for argument, least in LEAST.items():
        value = config[argument]
        check_range(argument, least <= value < math.inf, value, f"at least {least}, finite")
