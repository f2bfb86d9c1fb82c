"""Recipes: named sets of plain arguments, of the model and of its training."""

import math

from ede_keras.errors import InputError
from ede_keras.utils.validation import check_range

# Arguments of a recipe that are not the model's own.
TRAINING_ARGUMENTS = (
    "learning_rate",
    "beta_1",
    "cosine_decay",
    "batch_size",
    "epochs",
    "min_steps",
)

# Chosen on classes of the Fashion-MNIST and MNIST training parts: phase 2 with a bounded weight,
# D1 against D2, and a z that its own consistency term cannot shrink.
_NO_PRETEXT = {
    "image_size": None,
    "latent_dim": 32,
    "base_width": None,
    "image_weight": 50.0,
    "latent_weight": 1.0,
    "norm": "l2",
    "schedule": "floored_inverse_epoch",
    "phase_floor": 0.8,
    "update": "joint",
    "phase2_updates": "decoders",
    "fixed_latent_target": True,
    "score": "image",
    "omega1": 0.9,
    "learning_rate": 1e-3,
    "beta_1": 0.5,
    "cosine_decay": False,
    "batch_size": 64,
    "epochs": 15,
    # An epoch of a small set is several passes, else some dozen images end untrained.
    "min_steps": 40,
}

RECIPES = {
    # Algorithm 1 as printed. What the paper leaves open was fixed before anything was measured,
    # after its parents GANomaly and USAD.
    "paper": {
        "image_size": 32,
        "latent_dim": 100,
        "base_width": 32,
        "image_weight": 50.0,
        "latent_weight": 1.0,
        "norm": "l1",
        "schedule": "inverse_epoch",
        "update": "joint",
        "phase2_updates": "all",
        "fixed_latent_target": False,
        "score": "latent",
        "omega1": 0.5,
        "learning_rate": 2e-4,
        "beta_1": 0.5,
        "cosine_decay": False,
        "batch_size": 64,
        "epochs": 15,
        "min_steps": 1,
    },
    "default_no_pretext": _NO_PRETEXT,
    # E1 sees the image turned and shifted; the score knows how usual what it makes of it is.
    "default": {
        **_NO_PRETEXT,
        "latent_dim": 64,
        "epochs": 8,
        "pretext": "rotations_and_shifts",
        "pretext_weight": 6.0,
        "pretext_views": 4,
        "memory_size": 4096,
    },
}

# What is otherwise for colour images. A photograph's mirror image is as normal; and there is more
# to learn from it for the head, which so learns from all of an image's views but a third at every
# step, in as many steps, whose last ones settle what the first ones found.
_COLOUR = {
    "default_no_pretext": {"mirror": True},
    "default": {
        "mirror": True,
        "pretext": "rotations_shifts_and_colours",
        "pretext_views": 16,
        "batch_size": 16,
        "cosine_decay": True,
    },
}


def get_recipe(name, image_shape, **overrides):
    """The arguments of a recipe, with some of them replaced.

    Args:
        name: One of `RECIPES`: "paper", the literal algorithm; "default", what detects best; or
            "default_no_pretext", the same objective without the geometric pretext.
        image_shape: `(height, width, channels)` of the images; the default recipes differ for
            grey and for colour images.
        **overrides: Arguments of `EDE`, or one of `TRAINING_ARGUMENTS`.

    Returns:
        `(model_arguments, training_arguments)`, two dicts of plain values.

    Raises:
        InputError: The recipe does not exist, or the learning rate is none.

    Example:
        >>> model_arguments, training_arguments = get_recipe("paper", (28, 28, 1), latent_dim=64)
        >>> model_arguments["latent_dim"], training_arguments["epochs"]
        (64, 15)
    """
    if name not in RECIPES:
        raise InputError(f"`recipe` must be one of {', '.join(RECIPES)}. Received: {name!r}")
    of_colour = _COLOUR.get(name, {}) if image_shape[-1] == 3 else {}
    arguments = {**RECIPES[name], **of_colour, **overrides}
    training = {key: arguments.pop(key) for key in TRAINING_ARGUMENTS}
    rate = training["learning_rate"]
    check_range("learning_rate", 0 < rate < math.inf, rate, "above 0, finite")
    return arguments, training
