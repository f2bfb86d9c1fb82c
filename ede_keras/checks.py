"""What is asked of the arguments of a model."""

import keras

from ede_keras.errors import InputError


def check_choice(argument, value, allowed):
    """Raises unless the value is one of those allowed."""
    if value not in allowed:
        raise InputError(
            f"`{argument}` must be one of {', '.join(allowed)}. Received: {argument}={value!r}"
        )


def check_range(argument, fits, value, expected):
    """Raises unless the value fits; `expected` says in words what does."""
    if not fits:
        raise InputError(f"`{argument}` must be {expected}. Received: {argument}={value}")


def check_precision():
    """Raises under a precision policy that scales one loss for one optimizer."""
    policy = keras.config.dtype_policy()
    if policy.compute_dtype == "float16":
        raise InputError(
            "The policy 'mixed_float16' is not supported: its loss scaling serves one optimizer, "
            "and EDE has two. Use 'mixed_bfloat16' or 'float32'. Received: "
            f"dtype_policy={policy.name!r}"
        )
