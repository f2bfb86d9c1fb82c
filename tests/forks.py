"""Runs the commands in forks of one process that has TensorFlow imported: seconds, not imports.

Reads one JSON object per line: `{"arguments", "cwd", "env", "stdin", "stdout", "stderr", "bound"}`.
`env` is added to the environment, the streams are files, and file permissions bind a `bound` one.
Answers with the process' number. A line `{"wait": number, "seconds"}` is answered with the exit
code, or with null if the process still runs after so many seconds; null seconds are any number.
Nothing of TensorFlow may run in the parent: a fork would lose its threads.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import time

import sklearn.datasets  # noqa: F401

import ede_keras.cli.common
import ede_keras.data.datasets  # noqa: F401


def bind():
    """File permissions bind this process from now on, even root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # capabilities of 64 bits, of this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inherited ones, low bits first
    if libc.capget(header, sets) == 0:
        for i in range(3):
            sets[i] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
        if libc.capset(header, sets) == 0:
            return
    raise OSError(ctypes.get_errno(), "capabilities cannot be given up")


def run(arguments, cwd, env, stdin, stdout, stderr, bound=False):
    os.environ.update(env)
    # Shells let their background jobs ignore Ctrl-C, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(stdin, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0)
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    # Python's own know what kind of file the parent's are, which may be no terminal.
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(cwd)
    if bound:
        bind()
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path[0] = ""
        exec(arguments[1], {"__name__": "__main__"})
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = cwd
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


def wait(process, seconds):
    """The exit code, or None."""
    if seconds is None:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    until = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.005)


# Garbage collection would walk through all that was imported, again and again, and would copy its
# pages in each fork.
gc.freeze()
gc.set_threshold(50_000, 20, 50)

for line in sys.stdin:
    command = json.loads(line)
    if "wait" in command:
        answer = wait(command["wait"], command["seconds"])
    else:
        if command["arguments"][:2] == ["-m", "ede_keras.beam"]:
            with contextlib.suppress(ImportError):
                importlib.import_module("ede_keras.beam")  # seconds, which few tests need
        answer = os.fork()
        if not answer:
            run(**command)
            sys.exit()
    print(json.dumps(answer), flush=True)
