"""Runs the commands in forks of one process that has TensorFlow imported: seconds, not imports.

Reads one JSON object per line: `{"arguments", "cwd", "env", "stdin", "stdout", "stderr",
"kill_after"}`. `env` is added to the environment, the streams are files, and the command is killed
after that many seconds, if not null. Answers each line with the exit code. Nothing of TensorFlow
may run in the parent: a fork would lose its threads.
"""

import gc
import json
import os
import runpy
import signal
import sys
import time

import sklearn.datasets  # noqa: F401

import ede_keras.cli.common
import ede_keras.data.datasets  # noqa: F401


def run(arguments, cwd, env, stdin, stdout, stderr):
    os.environ.update(env)
    os.dup2(os.open(stdin, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0)
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(cwd)
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


# Garbage collection would walk through all that was imported, again and again, and would copy its
# pages in each fork.
gc.freeze()
gc.set_threshold(50_000, 20, 50)

for line in sys.stdin:
    command = json.loads(line)
    kill_after = command.pop("kill_after")
    child = os.fork()
    if not child:
        run(**command)
        sys.exit()
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
