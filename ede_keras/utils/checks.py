"""Checks of single arguments; they need no TensorFlow."""

from collections.abc import Collection, Sized

from ede_keras.errors import InputError


def check_choice(argument: str, value: object, allowed: Collection[str]) -> None:
    """Checks that an argument has one of the allowed values.

    Args:
        argument: Name of the argument, for the message.
        value: Its value.
        allowed: The allowed values.

    Raises:
        InputError: `value` is not one of them.
    """
    if value not in allowed:
        raise InputError(
            f"`{argument}` must be one of {', '.join(allowed)}. Received: {argument}={value!r}"
        )


def check_range(argument: str, fits: bool, value: object, expected: str) -> None:
    """Raises an error if an argument is out of range.

    Args:
        argument: Name of the argument, for the message.
        fits: Whether the value is in the range.
        value: Its value.
        expected: The range in words, such as "at least 0"; follows "must be" in the message.

    Raises:
        InputError: `fits` is false.
    """
    if not fits:
        raise InputError(f"`{argument}` must be {expected}. Received: {argument}={value}")


def check_enough(images: Sized) -> None:
    """Raises an `InputError` for fewer than two normal images: they show no variation."""
    if len(images) < 2:
        raise InputError(
            "Expected at least 2 normal images to learn from, besides the held-out ones. "
            f"Received: {len(images)}"
        )
