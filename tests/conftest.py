"""What the tests share: seeds, small images, a small model, the commands."""

import fcntl
import gc
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

# As the commands set them, for those that run in a fork, too late to set them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import pytest
from commands import ROOT, flags_of
from makers import PLAIN, make_smooth_images

import ede_keras
from ede_keras.data import sources
from ede_keras.serving import savedmodel_check

# Files whose tests take longest, slow or plain. A process takes one file at a time, so it has to
# begin with these: else one of them is left over in the end, and a core idles.
LONGEST = (
    "test_rivals.py",
    "test_torch.py",
    "test_resuming.py",
    "test_runtimes.py",
    "test_speed.py",
    "test_beam.py",
    "test_floors.py",
    "test_scratch.py",
    "test_benchmarks.py",
    "test_commands.py",
    "test_workers.py",
    "test_docs.py",
    "test_packaging.py",
    "test_savedmodel.py",
    "test_algorithm1.py",
    "test_trainer.py",
    "test_refusals.py",
    "test_saving.py",
    "test_backbone_model.py",
)


# Garbage collection need not walk through all that was imported, again and again.
gc.freeze()
gc.set_threshold(50_000, 20, 50)


def pytest_collection_modifyitems(items):
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONGEST)))


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def images():
    """70 smooth random images, uint8, 8x8x1: one full batch and a part of one."""
    return make_smooth_images()


@pytest.fixture(scope="session")
def build():
    """Builds a compiled model that is small enough to train in a test.

    Its steps run eagerly, for tracing a graph takes longer than the few steps of a test; what is
    said of graphs is tested with `compile_arguments` of its own.
    """

    def build(variant=ede_keras.EDE, compile_arguments=None, **arguments):
        model = variant(
            **{"image_shape": (8, 8, 1), "latent_dim": 4, "base_width": 2} | PLAIN | arguments
        )
        model.compile(**{"run_eagerly": True} if compile_arguments is None else compile_arguments)
        return model

    return build


@pytest.fixture(scope="session")
def export_unchecked():
    """`export_savedmodel` without its check, which starts a process."""

    def export_unchecked(model, output_dir):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(savedmodel_check, "run", lambda folder, expected: None)
            return ede_keras.export_savedmodel(model, output_dir)

    return export_unchecked


@pytest.fixture
def run_python():
    """Runs Python on the arguments in a process of its own, from the project's root."""

    def run_python(*arguments, check=True, **kwargs):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=600,
            **{"cwd": ROOT, **kwargs},
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run_python


@pytest.fixture(scope="session")
def forks():
    """The process of `forks.py`."""
    with subprocess.Popen(
        [sys.executable, Path(__file__).parent / "forks.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # The package beside the tests, wherever another one is installed.
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        yield process
    assert process.returncode == 0


class Fork:
    """A command that runs in a fork of that process."""

    def __init__(self, process, folder, number, arguments):
        self._process = process
        self._folder = folder
        self._number = number
        self._arguments = arguments
        self._code = None

    def wait(self, seconds=None):
        """Its exit code; None if it still runs after so many seconds."""
        if self._code is None:
            self._code = ask(self._process, wait=self._number, seconds=seconds)
        return self._code

    def send_signal(self, how):
        if self.wait(0) is None:
            os.kill(self._number, how)

    def communicate(self):
        """Waits for it; returns what `subprocess.run` would."""
        code = self.wait()
        shown = {name: (self._folder / name).read_text() for name in ("stdout", "stderr")}
        return subprocess.CompletedProcess(self._arguments, code, **shown)


def ask(process, **question):
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@pytest.fixture(scope="session")
def fork_command(forks, tmp_path_factory):
    """Starts Python on the arguments in a fork; `run_command` waits for it, too.

    If it is `bound`, file permissions bind it, even if we are root.
    """

    def fork_command(*arguments, env=None, cwd=ROOT, input="", terminal=None, bound=False):
        arguments = [str(argument) for argument in arguments]
        folder = tmp_path_factory.mktemp("command")
        (folder / "stdin").write_text(input)
        streams = {name: str(folder / name) for name in ("stdin", "stdout", "stderr")}
        if terminal:
            streams |= {"stdout": terminal, "stderr": terminal}
        command = {"arguments": arguments, "cwd": str(cwd), "env": env or {}, "bound": bound}
        return Fork(forks, folder, ask(forks, **command, **streams), arguments)

    return fork_command


@pytest.fixture
def start_command(fork_command):
    """Starts Python on the arguments in a fork, which is killed if the test fails meanwhile."""
    started = []

    def start_command(*arguments, **kwargs):
        started.append(fork_command(*arguments, **kwargs))
        return started[-1]

    yield start_command
    for fork in started:
        fork.send_signal(signal.SIGKILL)
        fork.wait()


@pytest.fixture(scope="session")
def run_command(fork_command):
    """Runs Python on the arguments, `run_command("train.py", *flags)`, in a fork of a process.

    That process has TensorFlow imported already. A tenth of all commands or so should be a real
    start by `run_python`.
    """

    def run_command(*arguments, check=True, kill_after=None, **kwargs):
        fork = fork_command(*arguments, **kwargs)
        if kill_after is not None and fork.wait(kill_after) is None:
            fork.send_signal(signal.SIGKILL)
        done = fork.communicate()
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run_command


@pytest.fixture
def run_in_terminal(start_command):
    """Runs Python on the arguments as in a terminal; returns all that it shows."""

    def run_in_terminal(*arguments):
        ours, theirs = pty.openpty()
        fork = start_command(*arguments, terminal=os.ttyname(theirs))
        shown = b""
        while (code := fork.wait(0.01)) is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0)[0]:
                shown += os.read(ours, 4096)
        os.close(theirs)
        os.close(ours)
        assert code == 0, shown.decode()
        return shown.decode()

    return run_in_terminal


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Makes a folder once for all of pytest's processes: `shared("name", fill)`.

    `fill(folder)` runs in the process that comes first, and the others wait for it. Tests only read
    the folder.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def shared(name, fill):
        folder, done = base / f"shared-{name}", base / f"shared-{name}.done"
        with open(base / f"shared-{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return shared


@pytest.fixture(scope="session")
def run_dir(run_command, shared):
    """A finished run of three epochs on digits; what it printed lies beside `digits/`."""

    def train(output_dir):
        done = run_command("train.py", *flags_of(output_dir, "--epochs=3"))
        (output_dir / "stdout.txt").write_text(done.stdout)

    return shared("runs", train) / "digits" / "2" / "0"


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty Keras cache, no Debian package, and a network where nothing answers."""

    def fail(*_, **__):
        raise Exception("URL fetch failure")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(sources, "_DEBIAN_FMNIST", tmp_path / "debian")
    for module in sources._DOWNLOADS.values():
        monkeypatch.setattr(module, "load_data", fail)
    return tmp_path
