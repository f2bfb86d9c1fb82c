"""Several devices and several processes that train together."""

import json
import signal
import socket
import time

import keras
import numpy as np
import pytest
from commands import flags_of, read_rows

# Without a pretext, whose graph takes long to trace in each process; `test_devices_agree_on_every_
# score` has one.
FLAGS = ("--epochs=4", "--min_steps=4", "--base_width=4", "--latent_dim=8", "--pretext=none")


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start_workers(start_command, output_dir, *flags):
    """Two processes, the chief first."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    flags = (*flags_of(output_dir, *FLAGS, *flags), "--strategy=multi_worker")
    workers = []
    for i in range(2):
        task = {"cluster": cluster, "task": {"type": "worker", "index": i}}
        env = {"TF_CONFIG": json.dumps(task)}
        workers.append(start_command("train.py", *flags, env=env))
    return workers


def wait_for_all(workers):
    """Their exit codes and what they said on stderr."""
    assert all(worker.wait(300) is not None for worker in workers)
    done = [worker.communicate() for worker in workers]
    return [worker.returncode for worker in done], [worker.stderr for worker in done]


def read_losses(run):
    rows = read_rows(run / "checkpoints/history.csv")
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name.endswith("loss")}


def assert_same_run(found, wanted):
    """But for rounding: other sums, in another order."""
    losses = read_losses(found), read_losses(wanted)
    for name, values in losses[1].items():
        assert losses[0][name] == pytest.approx(values, rel=1e-3)
    models = [keras.saving.load_model(run / "model.keras") for run in (found, wanted)]
    assert models[0].epoch == models[1].epoch == 4
    scores = [
        np.array([float(row["score"]) for row in read_rows(run / "scores.csv")])
        for run in (found, wanted)
    ]
    assert np.abs(scores[0] - scores[1]).max() < 0.05 * scores[1].std()


@pytest.fixture(scope="module")
def one(run_command, tmp_path_factory):
    """The run of one process."""
    folder = tmp_path_factory.mktemp("one")
    run_command("train.py", *flags_of(folder, *FLAGS))
    return folder / "digits/2/0"


@pytest.mark.slow
def test_a_lost_worker_and_its_return(one, start_command, tmp_path):
    """Two processes train as one does, though one of them is killed on the way."""
    work = tmp_path / "two/digits/2/0.unfinished"
    workers = start_workers(start_command, tmp_path / "two")
    until = time.monotonic() + 240
    while not (work / "checkpoints/last.keras").exists():
        assert time.monotonic() < until
        assert all(worker.wait(0.02) is None for worker in workers)
    workers[1].send_signal(signal.SIGKILL)
    codes, said = wait_for_all(workers)
    assert codes == [1, -signal.SIGKILL]
    assert "Another worker was lost. Restart all workers" in said[0]
    assert "Traceback" not in said[0]
    codes, said = wait_for_all(start_workers(start_command, tmp_path / "two", "--resume"))
    assert codes == [0, 0], said
    assert_same_run(tmp_path / "two/digits/2/0", one)


@pytest.mark.slow
def test_what_the_chief_refuses_all_refuse(start_command, tmp_path):
    (tmp_path / "digits/2/0.unfinished").mkdir(parents=True)
    (tmp_path / "digits/2/0.unfinished/config.json").write_text("{}")
    codes, said = wait_for_all(start_workers(start_command, tmp_path))
    assert codes == [1, 1]
    assert "another config" in said[0] and "The chief" in said[1]


def test_multi_worker_needs_tf_config(run_command, tmp_path):
    done = run_command("train.py", *flags_of(tmp_path, "--strategy=multi_worker"), check=False)
    assert done.returncode == 1 and "needs the environment variable TF_CONFIG" in done.stderr


@pytest.mark.slow
def test_mirrored_on_one_device_is_one(one, run_command, tmp_path):
    run_command("train.py", *flags_of(tmp_path, *FLAGS, "--strategy=mirrored"))
    assert_same_run(tmp_path / "digits/2/0", one)
