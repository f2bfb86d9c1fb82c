"""A training that is killed, stopped or repeated ends as one that was not."""

import os
import re
import shutil
import signal
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import LIGHT, flags_of, read_rows


def weights_of(run_dir):
    """All arrays in the file of the model, the optimizers' among them."""
    arrays = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with (
        zipfile.ZipFile(run_dir / "model.keras") as archive,
        archive.open("model.weights.h5") as member,
        h5py.File(member) as file,
    ):
        file.visititems(collect)
    return arrays


def assert_same_weights(one, other):
    found, expected = weights_of(one), weights_of(other)
    assert found.keys() == expected.keys() and len(found) > 100
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])


def kill_in_epoch(n, start_command, flags, how, meanwhile=lambda: None):
    """Starts a training and kills it while it trains epoch n + 1, after `meanwhile`."""
    work = Path(next(f for f in flags if "output_dir" in f).split("=")[1]) / "digits/2/0.unfinished"
    command = start_command("train.py", *flags)
    history = work / "checkpoints" / "history.csv"
    deadline = time.monotonic() + 300
    while not (history.exists() and len(history.read_text().splitlines()) > n):
        ended = command.wait(0.005) is not None
        assert not ended and time.monotonic() < deadline, command.communicate()
    meanwhile()
    command.send_signal(how)
    return command.communicate()


def test_killed_and_resumed_is_as_never_killed(start_command, run_command, run_dir, tmp_path):
    flags = flags_of(tmp_path, "--epochs=3")
    kill_in_epoch(1, start_command, flags, signal.SIGKILL)
    refused = run_command("train.py", *flags, check=False)
    assert refused.returncode == 1 and "--resume" in refused.stderr
    assert "Traceback" not in refused.stderr
    run_command("train.py", *flags, "--resume")
    broken = tmp_path / "digits" / "2" / "0"
    assert_same_weights(broken, run_dir)
    assert (broken / "scores.csv").read_bytes() == (run_dir / "scores.csv").read_bytes()
    assert len(read_rows(broken / "checkpoints" / "history.csv")) == 3
    assert "there is nothing to resume" in run_command("train.py", *flags, "--resume").stdout


@pytest.fixture(scope="module")
def light_run(run_command, tmp_path_factory):
    """A run of `LIGHT` and the seconds that it took."""
    folder = tmp_path_factory.mktemp("light")
    began = time.monotonic()
    run_command("train.py", *flags_of(folder, *LIGHT))
    return folder / "digits/2/0", time.monotonic() - began


@pytest.mark.slow
def test_killed_at_any_moment(light_run, run_command, tmp_path):
    """Of starting, training, saving, calibrating and scoring; then `--resume`."""
    whole, seconds = (light_run[0] / "scores.csv").read_bytes(), light_run[1]
    left = set()
    for i, share in enumerate((0.3, 0.6, 0.9)):
        flags = flags_of(tmp_path / str(i), *LIGHT)
        done = run_command("train.py", *flags, check=False, kill_after=share * seconds)
        folder = tmp_path / str(i) / "digits/2"
        left |= {path.name for path in folder.glob("*")} if folder.exists() else {"nothing"}
        assert done.returncode in (0, -signal.SIGKILL)
        run_command("train.py", *flags, "--resume")
        assert (folder / "0/scores.csv").read_bytes() == whole
        assert os.listdir(folder) == ["0"]
        assert not [path for path in folder.rglob(".*")]
    assert "0.unfinished" in left  # some of the moments were within


@pytest.mark.slow
def test_an_evaluation_that_is_killed(light_run, run_command, tmp_path):
    """Whatever lies there is whole."""
    run_dir, _ = light_run
    whole = tmp_path / "whole"
    began = time.monotonic()
    run_command("evaluate.py", f"--run_dir={run_dir}", "--report", f"--output_dir={whole}")
    seconds = time.monotonic() - began
    names = sorted(os.listdir(whole))
    for i, share in enumerate((0.6, 0.9)):
        flags = (f"--run_dir={run_dir}", "--report", f"--output_dir={tmp_path / str(i)}")
        run_command("evaluate.py", *flags, check=False, kill_after=share * seconds)
        for path in (tmp_path / str(i)).glob("[!.]*"):
            found, expected = (
                re.sub(rb"images_per_second\W+(th><td>)?[\d.]+", b"", file.read_bytes())
                for file in (path, whole / path.name)
            )
            assert found == expected
        run_command("evaluate.py", *flags)
        assert sorted(p.name for p in (tmp_path / str(i)).glob("[!.]*")) == names


@pytest.mark.slow
def test_two_processes_in_one_folder(start_command, run_command, tmp_path):
    """The second is refused whatever it wants; when the first is gone it may go on."""
    flags = flags_of(tmp_path, "--epochs=10000", *LIGHT)

    def refused():
        for more in ((), ("--resume",), ("--overwrite",)):
            done = run_command("train.py", *flags, *more, check=False)
            assert done.returncode == 1 and "Another process is training" in done.stderr

    kill_in_epoch(1, start_command, flags, signal.SIGKILL, meanwhile=refused)
    run_command("train.py", *flags_of(tmp_path, *LIGHT), "--overwrite")


@pytest.mark.slow
def test_stopped_by_hand(start_command, tmp_path):
    flags = flags_of(tmp_path, "--epochs=10000", *LIGHT)
    done = kill_in_epoch(2, start_command, flags, signal.SIGINT)
    assert done.returncode == 130 and "--resume" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    assert (tmp_path / "digits/2/0.unfinished/checkpoints/last.keras").exists()


def test_resumed_after_its_last_epoch(run_command, run_dir, tmp_path):
    """Killed between training and scoring: there is nothing left to train."""
    work = tmp_path / "digits/2/0.unfinished"
    shutil.copytree(run_dir, work)
    for name in ("metrics.json", "scores.csv", "model.keras", "calibration.csv"):
        (work / name).unlink()
    (work / "checkpoints" / ".last.1.keras").write_bytes(b"half a checkpoint")
    run_command("train.py", *flags_of(tmp_path, "--epochs=3"), "--resume")
    assert (tmp_path / "digits/2/0/scores.csv").read_bytes() == (
        run_dir / "scores.csv"
    ).read_bytes()
    assert sorted(os.listdir(tmp_path / "digits/2/0/checkpoints")) == [
        "arguments.json",
        "history.csv",
        "last.keras",
    ]


def test_a_damaged_checkpoint_is_said_in_one_line(run_command, run_dir, tmp_path):
    work = tmp_path / "digits/2/0.unfinished"
    shutil.copytree(run_dir, work)
    last = work / "checkpoints" / "last.keras"
    last.write_bytes(last.read_bytes()[:1000])
    done = run_command("train.py", *flags_of(tmp_path, "--epochs=3"), "--resume", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{last} is damaged; delete its folder to start again (in the command" in done.stderr


@pytest.mark.slow
def test_full_disk(run_command, tmp_path):
    """A file may grow to 200 kB here, as if the disk were full then."""
    code = (
        "import resource, runpy, sys; sys.argv[0] = 'train.py'; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
        "runpy.run_path('train.py', run_name='__main__')"
    )
    flags = flags_of(tmp_path, "--base_width=16", *LIGHT)
    done = run_command("-c", code, *flags, check=False)
    assert done.returncode == 1 and "Error" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "digits/2/0").exists()
    work = tmp_path / "digits/2/0.unfinished"
    assert not list(work.rglob("*.keras"))
    run_command("train.py", *flags, "--resume")
    assert (tmp_path / "digits/2/0/metrics.json").exists()


@pytest.mark.slow
def test_same_bits_at_any_number_of_threads(run_command, tmp_path):
    """Twice at 1 thread; at 2 threads sums are rounded otherwise.

    That two runs at the machine's own number are equal is tested below.
    """
    files = []
    for i, threads in enumerate("112"):
        env = {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads}
        flags = flags_of(tmp_path / str(i), "--variant=single_ede")
        run_command("train.py", *flags, env=env)
        files.append(tmp_path / str(i) / "digits/2/0/scores.csv")
    assert files[0].read_bytes() == files[1].read_bytes()
    one, two = (np.array([float(row["score"]) for row in read_rows(f)]) for f in files[1:])
    difference = np.abs(one - two).max() / one.std()
    print(f"largest difference between 1 and 2 threads: {difference:.1e} standard deviations")
    assert difference < 0.1


def test_same_run_again_is_bit_equal_and_replaces(run_command, run_dir, tmp_path):
    """The same flags in another process, into a place where a run of them lies."""
    place = tmp_path / "digits/2/0"
    shutil.copytree(run_dir, place)
    (place / "model.keras").write_bytes(b"to be replaced")
    run_command("train.py", *flags_of(tmp_path, "--epochs=3"))
    assert_same_weights(place, run_dir)
    assert os.listdir(tmp_path / "digits/2") == ["0"]
