"""The exception for input that cannot be used."""


class InputError(ValueError):
    """Raised when the input is at fault, not the program.

    The message says what was expected, what to do and what was received. The commands print it
    without a traceback; scripts can catch it as a `ValueError`.
    """


class UnreadableImage(InputError):
    """Raised for an image file that cannot be read. The message is the reason, in a few words."""
