"""Keeps TensorFlow's log lines off stderr while it is imported."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# As C++ code logs: "I0000 00:00:1795721199.437 22018 port.cc:153] ...", and its introduction.
_LOG_LINE = re.compile(rb"[IWE]\d{4} \d\d:\d\d:|WARNING: All log messages before absl")


@contextlib.contextmanager
def without_log_lines() -> Iterator[None]:
    """Holds back stderr within the block, and passes on all but log lines when it ends.

    TensorFlow 2.21 ignores TF_CPP_MIN_LOG_LEVEL for what it logs while it is imported.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # the process has no stderr
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            for line in caught:
                if not _LOG_LINE.match(line):
                    os.write(2, line)
