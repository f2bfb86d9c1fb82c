"""The arguments of `EDE` and its training, each defined once: type, default, range, meaning.

Checks, saved configs, the flags of `ede-train` and docs/pages/settings.md are made from the fields
of the two dataclasses. A new argument is one field here and the line that uses it. Then run
`python docs/settings.py` again, which writes that page.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from ede_keras import choices
from ede_keras.errors import InputError
from ede_keras.layers.image_sizes import (
    LARGEST_SMALL,
    SMALLEST,
    check_sizes,
    is_small,
    size_for_backbone,
    size_for_networks,
)
from ede_keras.layers.transformations import TRANSFORMATIONS, check_transformations
from ede_keras.utils.arguments import Arguments, Range, argument

if TYPE_CHECKING:  # their modules need TensorFlow
    from ede_keras.backbones.backbone import Backbone
    from ede_keras.layers.pretext import Pretext

PRETEXTS = ("none", *TRANSFORMATIONS)
# How often a normal image is kept in memory if light is varied: as it is, and in other light.
COPIES = 4
# Arguments that runs from before there were these do not name, with the value that held.
ADDED_LATER = {"precision": "float32"}


def _is_colour(image_shape):
    return image_shape[-1] == 3


def _by_colour(grey, colour, with_backbone=None):
    """Keyword arguments of `argument` for a default that differs for grey and colour images.

    `with_backbone` says in words what `_with_backbone` makes of it.
    """
    text = f"{grey} for grey, {colour} for colour images"
    if with_backbone:
        text += f"; with a backbone {with_backbone}"
    return {"by_shape": lambda s: colour if _is_colour(s) else grey, "default_text": text}


def _with_backbone(image_shape, given):
    """The arguments given, with the defaults that a backbone changes."""
    pretext = given.get("pretext")
    if getattr(pretext, "uses_features", False):
        raise InputError(
            "With a backbone, which recipe features has, `pretext` must be a name, or a pretext of "
            "your own that does not use E1's features: there is no map of the image in E1. Leave "
            f"it out, or use recipe default to train from scratch. Received: pretext={pretext!r}"
        )
    if given.get("mirror"):
        raise InputError(
            "`mirror` has no effect with a backbone, which recipe features has: leave it out, or "
            "use recipe default to train from scratch. Received: mirror=True"
        )
    is_small_grey = is_small(image_shape) and not _is_colour(image_shape)
    defaults = {
        "image_size": size_for_backbone(image_shape),
        # On photographs and parts it knows less than the features do.
        "pretext": "rotations_and_shifts" if is_small_grey else "none",
        "pretext_views": 16,
        "mirror": False,
        "components": 0,
        "lighting": 0.0,
        "base_width": 32,
    }
    return {**defaults, **{name: value for name, value in given.items() if value is not None}}


_SHARE = Range(least=0, most=1)
_COUNT = Range(least=1)
_WEIGHT = Range(least=0)


@dataclasses.dataclass(frozen=True)
class EDEArguments(Arguments):
    """The arguments of `EDE` besides `image_shape`, networks of your own and `name`.

    The defaults are those of recipe "default". None means a default that depends on the images.
    """

    @classmethod
    def resolve(cls, image_shape: Sequence[int], **given: Any) -> Self:
        """All arguments for images of a shape; what is None or not given gets its default.

        Raises:
            InputError: An argument is unknown, out of range, or does not suit the images.
        """
        if given.get("backbone") is not None:
            given = _with_backbone(image_shape, given)
        arguments = super().resolve(image_shape, **given)
        assert arguments.image_size is not None  # the default by shape
        check_sizes(arguments.image_size, image_shape[-1], 5 if arguments.backbone else 3)
        if isinstance(arguments.pretext, str) and arguments.pretext != "none":
            check_transformations(arguments.pretext, image_shape[-1])
        return arguments

    def find_unused(self) -> dict[str, str]:
        """The arguments that have no effect, each with the other argument that is the reason."""
        unused = {}
        if self.schedule != "floored_inverse_epoch":
            unused["phase_floor"] = f"schedule {self.schedule}"
        if self.phase2_form != "bounded":
            unused["phase2_margin"] = f"phase2_form {self.phase2_form}"
        if self.phase2_form == "restoration":
            unused["phase2_updates"] = "phase2_form restoration"
        if self.pretext != "none" or self.components or self.backbone:
            unused["scale_terms"] = "other terms beside Equation (8), so all are scaled"
        if self.pretext == "none":
            unused |= dict.fromkeys(("pretext_weight", "pretext_views"), "pretext none")
        elif not isinstance(self.pretext, str):
            unused["pretext_views"] = "a pretext of your own"
        if self.backbone:
            unused["components"] = "a backbone, which has a memory of its own"
            unused["lighting"] = "a backbone"
        if self.pretext == "none" and not self.backbone and not self.components:
            unused["memory_size"] = "pretext none"
        return unused

    backbone: "str | Backbone | None" = argument(  # noqa: RUF009  a field, as the others
        None,
        "A frozen network whose features of an image take the image's place in the EDEs: "
        "efficientnet_lite0, the path of a .keras or .pth file, keras.applications.NAME or "
        "keras_cv.PRESET. In a script it can also be an instance of Backbone.",
    )
    latent_dim: int = argument(64, "Length of the latent vectors.", within=_COUNT)
    image_size: int | None = argument(
        None,
        "Height and width of the networks' input, a multiple of 8, with a backbone of 32; images "
        "are resized to it.",
        within=Range(least=SMALLEST),
        by_shape=size_for_networks,
        default_text="16 for images of up to 16 pixels, 32 for larger ones; with a backbone 128 "
        "for images of up to 64 pixels, 448 from 448 pixels on, 320 from 320 on, else 224",
    )
    base_width: int | None = argument(
        None,
        "Filters of an encoder's first convolution; with a backbone a measure of hidden layers.",
        within=_COUNT,
        **_by_colour(16, 32, "32"),
    )
    image_weight: float = argument(
        50.0, "α of Equations (1) to (3), the weight of the image term.", within=_WEIGHT
    )
    latent_weight: float = argument(
        1.0, "β of Equations (1) to (3), the weight of the latent term.", within=_WEIGHT
    )
    norm: str = argument(
        "l2",
        "The distance d: mean absolute (l1) or mean squared (l2) difference.",
        choices=choices.NORMS,
    )
    schedule: str = argument(
        "floored_inverse_epoch",
        "w(n), the weight of phase 1 at epoch n in Equations (6) and (7): inverse_epoch is 1/n as "
        "printed, floored_inverse_epoch is max(1/n, phase_floor).",
        choices=choices.SCHEDULES,
    )
    phase_floor: float = argument(
        0.8, "The smallest weight of phase 1, for the floored schedule.", within=_SHARE
    )
    phase2_form: str = argument(
        "bounded",
        "What phase 2 is. printed: the contest of Equations (3) to (7), where EDE1 can run away; "
        "bounded: the contest, with a limit for EDE1; cooperative: EDE2 minimizes Equation (3), "
        "and EDE1 does not raise it; restoration: both EDEs restore damaged images, the share "
        "1 - w(n) of each batch.",
        choices=choices.PHASE2_FORMS,
    )
    phase2_margin: float = argument(
        3.0,
        "How many times as high as Equation (2) EDE1 may drive Equation (3), for form bounded.",
        within=Range(least=1),
    )
    update: str = argument(
        "joint",
        "joint: computes the gradients of both EDEs from one forward pass, as Algorithm 1 is "
        "printed; alternate: updates EDE1, then EDE2 from a fresh forward pass.",
        choices=choices.UPDATES,
    )
    phase2_updates: str = argument(
        "decoders",
        "What the phase-2 losses update. all: the encoders and the decoder of each EDE, as "
        "printed; decoders: only D1 and D2; ede2: D1 and all of EDE2.",
        choices=choices.PHASE2_UPDATES,
    )
    fixed_latent_target: bool = argument(
        True,
        "Whether z is a constant in d(z, z_i), so that the latent term cannot shrink z. False is "
        "the method as printed.",
    )
    score: str = argument(
        "image",
        "First term of Equation (8): latent, ‖z − z2‖, or image, ‖x − x2'‖.",
        choices=choices.SCORES,
    )
    omega1: float = argument(
        0.9, "ω1 of Equation (8), the weight of the first term; ω2 is 1 − ω1.", within=_SHARE
    )
    scale_terms: bool = argument(
        True,
        "Whether calibration brings the terms of Equation (8) to one scale, by held-out normal "
        "images, before ω1 weighs them. False is the method as printed, where the image term is "
        "about five times as large as the latent one.",
    )
    pretext: "str | Pretext | None" = argument(  # noqa: RUF009  a field, as the others
        None,
        "The transformations that E1 sees in training (GeometricPretext), or with a backbone an "
        "encoder beside it (ImagePretext); or none. In a script it can also be an instance of "
        "Pretext.",
        choices=PRETEXTS,
        **_by_colour(
            "rotations_and_shifts",
            "rotations_shifts_and_colours",
            f"rotations_and_shifts for grey images of up to {LARGEST_SMALL} pixels, else none",
        ),
    )
    pretext_weight: float = argument(
        6.0, "λ, the weight of the pretext's loss, which is added to Equation (1).", within=_WEIGHT
    )
    pretext_views: int | None = argument(
        None,
        "Views of each image that the geometric pretext's head classifies in a step.",
        within=_COUNT,
        **_by_colour(4, 16, "16"),
    )
    components: int = argument(
        64,
        "Principal components of normal images. What they leave of an image is added to the "
        "anomaly map; the nearest normal image among them and the map's peak are terms of the "
        "score. 0 leaves all this out. With a backbone they have no use.",
        within=Range(least=0),
    )
    memory_size: int = argument(
        4096,
        "Maximum number of normal images whose codes the pretext's terms keep, whose components "
        "are kept, or with a backbone whose vectors.",
        within=_COUNT,
    )
    lighting: float = argument(
        0.2,
        "The share by which images may be lighter or darker. Training images that vary less are "
        "varied by it, so a dimmer lamp is no anomaly; 0 leaves them as they are. With a backbone "
        "it has no use.",
        within=Range(least=0, most=1),
    )
    mirror: bool | None = argument(
        None,
        "Whether every other image of a training batch is mirrored left to right. Turn it off for "
        "parts that have a left and a right form.",
        **_by_colour(False, True, "false"),
    )
    contamination: float = argument(
        0.05,
        "Share of held-out normal images that may score above the threshold.",
        within=Range(least=0, below=1),
    )


@dataclasses.dataclass(frozen=True)
class TrainingArguments(Arguments):
    """The arguments of a recipe that concern training; the defaults are recipe "default"'s."""

    learning_rate: float = argument(
        1e-3, "Adam's learning rate, for both EDEs.", within=Range(above=0)
    )
    beta_1: float = argument(
        0.5, "Adam's decay rate of the first moment.", within=Range(least=0, below=1)
    )
    cosine_decay: bool | None = argument(
        None,
        "Whether the learning rate falls to 0 along half a cosine, epoch by epoch.",
        **_by_colour(False, True),
    )
    batch_size: int | None = argument(
        None, "Images in a batch.", within=_COUNT, **_by_colour(64, 16)
    )
    epochs: int = argument(8, "Number of epochs.", within=_COUNT)
    precision: str = argument(
        "float32",
        "The precision in which the networks compute during training. mixed_bfloat16 suits GPUs "
        "that have bfloat16. Weights, losses, updates and the score are always float32.",
        choices=choices.PRECISIONS,
    )
    min_steps: int = argument(
        40,
        "Minimum number of batches in an epoch; a small set is repeated to reach it.",
        within=_COUNT,
    )
