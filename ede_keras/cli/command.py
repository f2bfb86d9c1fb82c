"""How the commands run: flags first, errors in one line.

Nothing here needs TensorFlow, so `--help` and an error in a flag need not wait for it.
"""

import contextlib
import io
import logging
import os
import re
import sys
import warnings

from absl import app, flags

from ede_keras.errors import InputError

FLAGS = flags.FLAGS
QUIET = -2  # of absl's --verbosity, and below
ANOMALY_FOUND = 3  # exit status, with --fail_on_anomaly


def run(main, others=False, words=False):
    """Runs a command's `main(argv)`.

    An error in the input, a package that is missing, or an error of TensorFlow's such as a lack of
    memory becomes one line on stderr and exit code 1. `--help` shows the docstring of main's module
    and its flags. With `--verbosity=-2` nothing is printed but warnings and errors.

    Args:
        main: The function to run, with the remaining arguments.
        others: Whether unknown flags are left in `argv`; otherwise they are refused.
        words: Whether arguments that are no flags are left in `argv`; otherwise they are refused.
    """
    module = sys.modules[main.__module__]
    sys.modules["__main__"].__doc__ = module.__doc__
    for flag in FLAGS.get_key_flags_for_module(module.__name__):
        FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    warnings.showwarning = _show_warning
    # Without hints for programmers, such as about retracing.
    logging.getLogger("tensorflow").setLevel("ERROR")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may hold what a console cannot show
            stream.reconfigure(errors="backslashreplace")

    def guarded(argv):
        if len(argv) > 1 and not (others or words):
            raise app.UsageError(f"Expected flags only (--name=value). Received: {argv[1]!r}")
        with contextlib.ExitStack() as stack:
            if FLAGS.verbosity <= QUIET:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
            try:
                main(argv)
            except Exception as error:
                if not isinstance(error, _errors_in_input()):
                    raise
                sys.exit(f"Error: {_name_flags(str(error))}")

    try:
        app.run(guarded, flags_parser=_parse_own if others else app.parse_flags_with_usage)
    except SystemExit as error:
        # absl calls a request for help an error.
        if error.code == 1 and {word.lstrip("-") for word in sys.argv[1:]} & _HELP:
            sys.exit(0)
        raise


def _errors_in_input():
    tf = sys.modules.get("tensorflow")
    of_tensorflow = () if tf is None else (tf.errors.OpError,)
    return InputError, OSError, ImportError, *of_tensorflow


_HELP = {"help", "helpshort", "helpfull", "helpxml"}


def _name_flags(message):
    """Arguments by the flags that the user typed: --image_size for `image_size`."""

    def name(match):
        argument, value = match[1], (match[2] or "").replace("'", "").replace('"', "")
        return f"--{argument}{value}" if argument in FLAGS else match[0]

    return re.sub(r"`(\w+)(=[^`]*)?`", name, message)


def _parse_own(argv):
    try:
        return FLAGS(argv, known_only=True)
    except flags.Error as error:
        sys.exit(f"Error: {error}")


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"Warning: {_name_flags(str(message))}", file=sys.stderr)


def bars():
    """`verbose` for long work: 1 shows a progress bar, in a terminal only and unless quiet."""
    return int(sys.stdout.isatty() and FLAGS.verbosity > QUIET)


def refuse_flags(names, reason):
    """Raises an `InputError` with the reason if one of the flags is given."""
    for name in names:
        if FLAGS[name].present:
            raise InputError(f"--{name} {reason}. Received: --{name}={FLAGS[name].value}")
