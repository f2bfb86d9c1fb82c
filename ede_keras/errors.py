"""The one error that means: the input, not the program, is at fault."""


class InputError(ValueError):
    """Input that cannot be used; the message says what was expected, what came and what to do.

    The commands print it without a traceback; scripts may catch it as the `ValueError` it is.
    """
