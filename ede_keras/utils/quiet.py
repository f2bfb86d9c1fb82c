"""Keeps TensorFlow's log lines off stderr while it is imported."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

# As C++ code logs: "I0000 00:00:1795721199.437 22018 port.cc:153] ...", and its introduction.
_LOG_LINE = r"[IWE]\d{4} \d\d:\d\d:|WARNING: All log messages before absl"
# A program that passes on all other lines. In a process of its own, it also shows the last words of
# a process that dies during the import, as without the processor's AVX.
_FILTER = """
import os, re, sys
for line in sys.stdin.buffer:
    if not re.match(sys.argv[1].encode(), line):
        os.write(2, line)
"""
_LONGEST_WAIT = 10  # seconds, because a process started within the block may keep stderr open


@contextlib.contextmanager
def without_log_lines() -> Iterator[None]:
    """Drops log lines from what is written to stderr within the block, and passes on all else.

    TensorFlow 2.21 ignores TF_CPP_MIN_LOG_LEVEL for what it logs while it is imported.
    """
    # In a frozen program, `sys.executable` would start the program itself again.
    if getattr(sys, "frozen", False) or not sys.executable:
        yield
        return
    try:
        stderr = os.dup(2)
    except OSError:  # the process has no stderr
        yield
        return
    command = [sys.executable, "-I", "-S", "-c", _FILTER, _LOG_LINE]
    # In a session of its own, which Ctrl-C does not reach: it ends with the lines.
    filtering = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    assert filtering.stdin is not None
    sys.stderr.flush()
    os.dup2(filtering.stdin.fileno(), 2)
    filtering.stdin.close()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        with contextlib.suppress(subprocess.TimeoutExpired):
            filtering.wait(_LONGEST_WAIT)
