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
    """Raises unless the precision policy is float32."""
    policy = keras.config.dtype_policy()
    if policy.name != "float32":
        raise InputError(
            "Mixed precision is not supported: scores are small differences, which half the "
            "digits do not hold. Call keras.config.set_dtype_policy('float32') before the model "
            f"is built. Received: dtype_policy={policy.name!r}"
        )
