"""The sizes at which networks and backbones see images."""

from collections.abc import Sequence

from ede_keras.errors import InputError

# The smallest image that the networks can halve three times.
SMALLEST = 16
# Images of up to 64 pixels are small to a backbone.
LARGEST_SMALL = 64
# At which it sees images whose shorter side is at least that; chosen on deeppcb.
LARGE_SIZES = (320, 448)


def check_shape(image_shape: Sequence[int]) -> list[int]:
    """`(height, width, channels)` as a list of integers; an `InputError` if it is invalid."""
    shape = [int(side) for side in image_shape]
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(
            f"`image_shape` must be (height, width, channels). Received: image_shape={tuple(shape)}"
        )
    return shape


def is_small(image_shape: Sequence[int]) -> bool:
    """Whether images are small to a backbone: it sees them enlarged, without detail."""
    return max(image_shape[:2]) <= LARGEST_SMALL


def size_for_networks(image_shape: Sequence[int]) -> int:
    """The size at which networks that learn from pixels see images."""
    return 16 if max(image_shape[:2]) <= 16 else 32


def size_for_backbone(image_shape: Sequence[int]) -> int:
    """The size at which a backbone sees images: small ones enlarged, large ones in more detail."""
    if is_small(image_shape):
        return 128
    height, width = image_shape[:2]
    return max(size for size in (224, *LARGE_SIZES) if size <= max(min(height, width), 224))


def check_sizes(image_size: int, channels: int, halvings: int = 3) -> None:
    """Raises an `InputError` for images that networks of so many halvings cannot take."""
    factor = 2**halvings
    if image_size < 2 * factor or image_size % factor:
        raise InputError(
            f"`image_size` must be a multiple of {factor} and at least {2 * factor}, because each "
            f"network halves or doubles it {halvings} times. Received: image_size={image_size}"
        )
    check_channels(channels)


def check_channels(channels: int) -> None:
    """Raises an `InputError` for images that are neither grey nor RGB."""
    if channels not in (1, 3):
        raise InputError(
            f"Images must have 1 (grey) or 3 (RGB) channels. Received: channels={channels}"
        )
