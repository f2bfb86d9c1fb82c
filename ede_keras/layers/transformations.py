"""The transformations of the geometric pretext: rotations, shifts and exchanged colours."""

import numpy as np

from ede_keras.errors import InputError

# How far an image is shifted, as a share of its size.
SHIFT = 1 / 4


def _rotate(images):
    return [np.rot90(image, turns) for image in images for turns in range(4)]


def _shift(image):
    """Unmoved, to the right, to the left and up; the margin is filled by reflection."""
    size = len(image)
    by = round(SHIFT * size)
    padded = np.pad(image, ((by, by), (by, by), (0, 0)), mode="symmetric")
    corners = [(by, by), (by, 0), (by, 2 * by), (2 * by, by)]
    return [padded[top : top + size, left : left + size] for top, left in corners]


def _recolour(image):
    """The channels rotated, and the green channel in place of all three."""
    return [image[..., [1, 2, 0]], image[..., [1, 1, 1]]]


# Each maps a square image `(size, size, channels)` to its K views; the first is the image itself.
TRANSFORMATIONS = {
    "rotations": lambda image: _rotate([image]),
    "rotations_and_shifts": lambda image: _rotate(_shift(image)),
    "rotations_shifts_and_colours": lambda image: _rotate(_shift(image) + _recolour(image)),
}


def check_transformations(name: str, channels: int) -> None:
    """Raises an `InputError` unless these transformations exist for images of these channels."""
    if name not in TRANSFORMATIONS:
        raise InputError(
            f"`pretext` must be one of none, {', '.join(TRANSFORMATIONS)}. "
            f"Received: pretext={name!r}"
        )
    if "colours" in name and channels != 3:
        raise InputError(f"pretext={name!r} needs images of 3 channels. Received: {channels}")
