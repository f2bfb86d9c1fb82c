"""Runs the commands in forks of one process that has TensorFlow imported: seconds, not imports.

Reads one JSON object a line, `{"arguments", "cwd", "env", "stdout", "stderr", "kill_after"}`: `env`
is added to the environment, the streams are files to write, and after those seconds, if not null,
the command is killed. Answers each by its exit code. Nothing of TensorFlow may run in the parent,
whose threads a fork would lose.
"""

import json
import os
import runpy
import signal
import sys
import time

import sklearn.datasets  # noqa: F401

import ede_keras.cli.common
import ede_keras.data.datasets  # noqa: F401


def run(arguments, cwd, env, stdout, stderr):
    os.environ.update(env)
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(cwd)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = cwd
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


for line in sys.stdin:
    command = json.loads(line)
    kill_after = command.pop("kill_after")
    child = os.fork()
    if not child:
        os.close(0)
        run(**command)
        sys.exit()
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
