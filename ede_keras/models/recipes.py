"""Recipes: named sets of arguments of the model and of its training."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from ede_keras.choices import LITE0
from ede_keras.errors import InputError
from ede_keras.models.arguments import COPIES, EDEArguments, TrainingArguments

# Each holds what differs from the arguments' own defaults, which are recipe "default"'s.
RECIPES: dict[str, dict[str, Any]] = {
    # Algorithm 1 as printed. What the paper leaves open was set before anything was measured,
    # following the method's parents GANomaly and USAD.
    "paper": {
        "image_size": 32,
        "latent_dim": 100,
        "base_width": 32,
        "norm": "l1",
        "schedule": "inverse_epoch",
        "phase2_form": "printed",
        "phase2_updates": "all",
        "fixed_latent_target": False,
        "score": "latent",
        "omega1": 0.5,
        "scale_terms": False,
        "pretext": "none",
        "components": 0,
        "lighting": 0.0,
        "mirror": False,
        "learning_rate": 2e-4,
        "cosine_decay": False,
        "batch_size": 64,
        "epochs": 15,
        "min_steps": 1,
    },
    # The best form of the paper alone. Chosen on classes of the Fashion-MNIST and MNIST training
    # parts: in phase 2 both EDEs restore damaged images, and z, which cannot shrink by its own
    # consistency term, is too short to pass on what no normal image has. Both terms of Equation (8)
    # count equally.
    "default_no_pretext": {
        "latent_dim": 16,
        "phase2_form": "restoration",
        "phase_floor": 0.5,
        "omega1": 0.5,
        "pretext": "none",
        "components": 0,
        "lighting": 0.0,
        "cosine_decay": True,
        "batch_size": 64,
        "epochs": 24,
    },
    # What an ImageNet network sees takes the image's place. Chosen on classes of the CIFAR-10 and
    # Fashion-MNIST training parts, and on elpv and deeppcb.
    "features": {
        "backbone": LITE0,
        "omega1": 0.95,
        "cosine_decay": True,
        "batch_size": 16,
        "epochs": 3,
        "min_steps": 130,
    },
    # E1 sees rotated and shifted images. Colour images are also mirrored and recoloured, and they
    # take more views, smaller batches and a decaying rate: there is more for the head to learn.
    "default": {},
}


def get_recipe(
    name: str,
    image_shape: Sequence[int],
    n_train: int | None = None,
    *,
    unused: Sequence[str] = (),
    **overrides: Any,
) -> tuple[EDEArguments, TrainingArguments]:
    """All arguments of a recipe for images of a shape.

    Args:
        name: One of `RECIPES`: "default"; "features", on what a frozen ImageNet network sees,
            for photographs and parts; "default_no_pretext", without the geometric pretext and
            with settings of its own; or "paper", the literal algorithm.
        image_shape: `(height, width, channels)` of the images; some defaults depend on it.
        n_train: Number of training images, if known; `memory_size` is then at most that.
        unused: Arguments that have no effect on the variant, `EDE.unused_arguments`.
        **overrides: Fields of `EDEArguments` or `TrainingArguments` to replace; None leaves the
            recipe's value.

    Returns:
        `(model_arguments, training_arguments)`.

    Raises:
        InputError: The recipe does not exist, an argument is unknown, out of range or has no effect
            in combination with the others, or there are too few images.

    Example:
        >>> model_arguments, training_arguments = get_recipe("paper", (28, 28, 1), latent_dim=64)
        >>> model_arguments.latent_dim, training_arguments.epochs
        (64, 15)
    """
    if name not in RECIPES:
        raise InputError(f"`recipe` must be one of {', '.join(RECIPES)}. Received: {name!r}")
    given = {key: value for key, value in overrides.items() if value is not None}
    known = {*EDEArguments.names(), *TrainingArguments.names()}
    if unknown := sorted(set(given) - known):
        raise InputError(
            f"Arguments must be among {', '.join(sorted(known))}. Received: {', '.join(unknown)}"
        )
    values = {**RECIPES[name], **given}
    model_values = {key: values[key] for key in EDEArguments.names() if key in values}
    training_values = {key: values[key] for key in TrainingArguments.names() if key in values}
    arguments = EDEArguments.resolve(image_shape, **model_values)
    without_effect = {**arguments.find_unused(), **dict.fromkeys(unused, "this variant")}
    if idle := [key for key in given if key in without_effect]:
        raise InputError(
            f"`{idle[0]}` has no effect with {without_effect[idle[0]]}: leave it out. "
            f"Received: {idle[0]}={given[idle[0]]!r}"
        )
    if n_train is not None:
        if (arguments.pretext != "none" or arguments.backbone) and n_train < 2:
            raise InputError(
                "Expected at least 2 normal images to train on, because the terms of the pretext "
                "or backbone compare images with each other: add images, or use recipe "
                f"default_no_pretext. Received: {n_train}"
            )
        # Unused places in the memory would make a small set's model large and slow.
        copies = 1 if arguments.backbone or not arguments.lighting else COPIES
        size = min(arguments.memory_size, copies * n_train)
        arguments = dataclasses.replace(arguments, memory_size=size)
    return arguments, TrainingArguments.resolve(image_shape, **training_values)


def refuse_arguments_of_fit(given: Iterable[str]) -> None:
    """Raises an `InputError` for arguments that neither the model nor its optimizer takes."""
    taken = {*EDEArguments.names(), "learning_rate", "beta_1", "precision"}
    if misplaced := sorted(set(given) - taken):
        raise InputError(
            f"{', '.join(misplaced)} must be given to `fit_recipe` or `fit`: from_recipe does "
            f"not train. Received: from_recipe({misplaced[0]}=...)"
        )
