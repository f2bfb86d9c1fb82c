"""A folder that is watched: each file once, whatever stops the command."""

import csv
import os
import shutil
import signal
import time

import numpy as np
import pytest
from commands import read_rows
from makers import make_images, write_image

from ede_keras.cli.watch import COLUMNS, Scored, WatchLog, look, watch
from ede_keras.errors import InputError


def arrive(folder, *names):
    """Images that a camera writes elsewhere and then moves into the folder."""
    for i, image in enumerate(make_images([0] * len(names), (12, 12, 1), seed=len(names))):
        path = write_image(folder.parent / "camera" / f"{i}.png", image)
        (folder / names[i]).parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, folder / names[i])


def score(paths):
    """Scores by the size of a file; a text file has a problem."""
    problems = {i: "no image" for i, path in enumerate(paths) if path.suffix == ".txt"}
    sizes = [path.stat().st_size for i, path in enumerate(paths) if i not in problems]
    scores = np.array(sizes, "float32")
    return Scored(scores, (scores > 4).astype("int32"), 4.0, problems)


def run_rounds(folder, path, rounds, score=score, draw=None):
    """Watches for some looks; `rounds` are what happens between them. Returns what was shown."""
    shown = []
    steps = iter(rounds)

    def sleep(_):
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    with pytest.MonkeyPatch.context() as patch, WatchLog(path) as log:
        patch.setattr("ede_keras.cli.watch.time.sleep", sleep)
        watch(folder, log, score, shown.append, draw)
    return shown


def nothing():
    pass


def test_each_file_once_and_when_it_is_complete(tmp_path):
    folder = tmp_path / "arriving"
    (folder / "in").mkdir(parents=True)
    first = folder / "in/a.png"
    first.write_bytes(b"12")
    (folder / ".hidden.png").write_bytes(b"1")
    rounds = [
        lambda: first.write_bytes(b"123456"),  # still being written
        lambda: (folder / "b.txt").write_bytes(b"1"),
        nothing,
        nothing,
    ]
    shown = run_rounds(folder, tmp_path / "log.csv", rounds)
    rows = read_rows(tmp_path / "log.csv")
    assert [(row["path"], row["score"], row["label"], row["problem"]) for row in rows] == [
        ("in/a.png", "6.0", "1", ""),
        ("b.txt", "", "", "no image"),
    ]
    assert "anomalous  in/a.png" in shown[0] and "b.txt: no image" in shown[1]
    assert "1 images scored, 1 anomalous" in shown[-1]
    # Again: nothing is scored twice, but a file that was written again is.
    run_rounds(
        folder, tmp_path / "log.csv", [nothing, lambda: first.write_bytes(b"1"), *[nothing] * 2]
    )
    rows = read_rows(tmp_path / "log.csv")
    assert [row["path"] for row in rows] == ["in/a.png", "b.txt", "in/a.png"]
    assert rows[2]["score"] == "1.0" and rows[2]["label"] == "0"


def test_a_server_that_restarts_loses_nothing(tmp_path):
    folder = tmp_path / "arriving"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"1")
    calls = []

    def flaky(paths):
        calls.append(len(paths))
        if len(calls) < 3:
            raise ConnectionError("no answer")
        return score(paths)

    shown = run_rounds(folder, tmp_path / "log.csv", [nothing] * 5, flaky)
    assert calls == [1, 1, 1] and len(read_rows(tmp_path / "log.csv")) == 1
    assert sum("waiting for the server: no answer" in line for line in shown) == 2


def test_a_line_that_was_cut_is_written_again(tmp_path):
    folder = tmp_path / "arriving"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"1")
    path = tmp_path / "log.csv"
    run_rounds(folder, path, [nothing, nothing])
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    run_rounds(folder, path, [nothing, nothing])
    assert path.read_bytes() == whole


def test_memory_holds_only_files_that_are_there(tmp_path):
    with WatchLog(tmp_path / "log.csv") as log:
        log.add({"a.png": (1, 2), "b.png": (3, 4)}, score([])._replace(problems={0: "x", 1: "x"}))
        log.forget({"b.png": (3, 4)})
        assert log.seen == {"b.png": (3, 4)}


def test_what_is_refused(tmp_path, run_python):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="Expected a file with the columns path"):
        WatchLog(tmp_path / "other.csv")
    with pytest.raises(InputError, match="Expected a folder to watch"):
        look(tmp_path / "gone")
    with WatchLog(tmp_path / "log.csv") as held:
        code = "from ede_keras.cli.watch import WatchLog; from pathlib import Path; "
        done = run_python("-c", f"{code} WatchLog(Path({str(held.path)!r}))", check=False)
    assert "Another process watches with this file" in done.stderr


def wait_for(path, n, seconds=60):
    """The rows of a log once it has n."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and len(rows := read_rows(path)) >= n:
            return rows
        time.sleep(0.1)
    raise AssertionError(f"fewer than {n} rows after {seconds} s")


def test_the_command_goes_on_after_a_kill(run_dir, fork_command, run_command, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    folder = tmp_path / "arriving"
    arrive(folder, "a.png", "in/b.png")
    log = run / "watch-arriving.csv"
    command = ("evaluate.py", f"--run_dir={run}", f"--watch={folder}")
    fork = fork_command(*command)
    wait_for(log, 2)
    fork.send_signal(signal.SIGKILL)
    fork.communicate()
    (folder / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    arrive(folder, "c.png")
    fork = fork_command(*command)
    rows = wait_for(log, 4)
    fork.send_signal(signal.SIGINT)
    done = fork.communicate()
    assert done.returncode == 0 and "1 images scored" in done.stdout
    assert sorted(row["path"] for row in rows) == ["a.png", "c.png", "cut.png", "in/b.png"]
    with open(log, newline="") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS
    by_path = {row["path"]: row for row in rows}
    assert by_path["cut.png"]["problem"] == "damaged" and by_path["cut.png"]["score"] == ""
    # The scores are those of the same command without --watch.
    run_command("evaluate.py", f"--run_dir={run}", f"--dataset={folder}/*.png")
    for row in read_rows(run / "evaluation-arriving.csv"):
        np.testing.assert_allclose(
            float(by_path[row["path"]]["score"]), float(row["score"]), rtol=1e-5
        )
        assert by_path[row["path"]]["label"] == row["label"]


def test_pictures_of_anomalous_images(tmp_path):
    """An image that goes while it is scored has no picture, and is not the end."""
    folder = tmp_path / "arriving"
    folder.mkdir()
    for name, size in (("bad.png", 5), ("good.png", 3), ("gone.png", 6), ("late.txt", 7)):
        (folder / name).write_bytes(b"1" * size)
    drawn = []

    def draw(name, path):
        if name == "gone.png":
            path.unlink()
        drawn.append((name, path.read_bytes()))

    shown = run_rounds(folder, tmp_path / "log.csv", [nothing, nothing], draw=draw)
    assert drawn == [("bad.png", b"1" * 5)]
    assert any("no picture gone.png" in line for line in shown)
    rows = {row["path"]: row["label"] for row in read_rows(tmp_path / "log.csv")}
    assert rows == {"bad.png": "1", "good.png": "0", "gone.png": "1", "late.txt": ""}


def test_a_picture_is_written_before_the_line_of_its_image(tmp_path):
    folder = tmp_path / "arriving"
    folder.mkdir()
    (folder / "bad.png").write_bytes(b"12345")

    def fill_the_disk(name, path):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        run_rounds(folder, tmp_path / "log.csv", [nothing, nothing], draw=fill_the_disk)
    assert read_rows(tmp_path / "log.csv") == []
    drawn = []
    run_rounds(folder, tmp_path / "log.csv", [nothing], draw=lambda name, path: drawn.append(name))
    assert drawn == ["bad.png"]


def test_the_command_draws(run_dir, fork_command, run_command, tmp_path):
    """The same pictures as without --watch, of the anomalous images only."""
    run = shutil.copytree(run_dir, tmp_path / "run")
    folder = tmp_path / "arriving"
    arrive(folder, *(f"in/{i}.png" for i in range(8)))
    command = ("evaluate.py", f"--run_dir={run}", "--contamination=0.9")
    watching = (*command, f"--watch={folder}", "--raw_maps=npy")
    done = run_command(*watching, f"--maps={folder}/maps", check=False)
    assert done.returncode == 1 and "choose a folder for --maps outside of --watch" in done.stderr
    fork = fork_command(*watching, f"--maps={tmp_path}/pictures")
    rows = wait_for(run / "watch-arriving.csv", 8)
    fork.send_signal(signal.SIGINT)
    assert fork.communicate().returncode == 0
    anomalous = {row["path"] for row in rows if row["label"] == "1"}
    pictures = tmp_path / "pictures"
    found = {p.relative_to(pictures).as_posix() for p in pictures.rglob("*") if p.is_file()}
    assert anomalous
    assert found == {f"{path}.{ending}" for path in anomalous for ending in ("png", "npy")}
    run_command(*command, f"--dataset={folder}", f"--maps={tmp_path}/all", "--raw_maps=npy")
    places = ("pictures", "all")
    for path in anomalous:
        drawn, expected = (np.load(tmp_path / place / f"{path}.npy") for place in places)
        np.testing.assert_allclose(drawn, expected, rtol=1e-4, atol=1e-4)


def test_flags_that_have_no_effect(run_dir, run_command, tmp_path):
    command = ("evaluate.py", f"--run_dir={run_dir}", f"--watch={tmp_path}", "--report")
    done = run_command(*command, check=False)
    assert done.returncode == 1 and "--report has no effect with --watch" in done.stderr
