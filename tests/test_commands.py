"""The commands as their users run them: by subprocess, on the embedded digits."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from makers import make_arrays, write_folder, write_npz
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parent.parent
METRICS = {
    "auroc",
    "average_precision",
    "f1",
    "n_test",
    "n_anomalous",
    "threshold",
    "train_seconds",
    "n_train",
    "n_val",
    "images_per_second",
    "omega1",
    "contamination",
}
SMALL = ("--epochs=2", "--base_width=2", "--latent_dim=4")


def slow(*values):
    """A case that adds little to its neighbours: for `pytest -m slow`."""
    return pytest.param(*values, marks=pytest.mark.slow)


def flags_of(output_dir, *more):
    return ("--dataset=digits", "--normal=2", f"--output_dir={output_dir}", *SMALL, *more)


def read_rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def weights_of(run_dir):
    import keras

    return [weight.numpy() for weight in keras.models.load_model(run_dir / "model.keras").weights]


def assert_same_weights(one, other):
    for a, b in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A finished run on digits, read by most tests."""
    output_dir = tmp_path_factory.mktemp("runs")
    done = subprocess.run(
        [sys.executable, "train.py", *flags_of(output_dir, "--epochs=3")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (output_dir / "stdout.txt").write_text(done.stdout)
    return output_dir / "digits" / "2" / "0"


def test_what_a_run_leaves(run_dir):
    names = set(os.listdir(run_dir)) - {"logs"}
    assert names == {
        "config.json",
        "metrics.json",
        "scores.csv",
        "calibration.csv",
        "model.keras",
        "checkpoints",
    }
    config = json.loads((run_dir / "config.json").read_text())
    expected = {
        "dataset": "digits",
        "protocol": "split80",
        "normal": 2,
        "normal_name": "2",
        "seed": 0,
        "recipe": "default",
        "variant": "full",
        "latent_dim": 4,
        "base_width": 2,
        "epochs": 3,
        "image_size": 16,
        "image_shape": [8, 8, 1],
        "contamination": 0.05,
    }
    assert {key: config[key] for key in expected} == expected
    assert not any(isinstance(value, dict) for value in config.values())
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert set(metrics) == METRICS
    assert (metrics["n_train"], metrics["n_val"], metrics["n_test"]) == (109, 32, 72)
    history = read_rows(run_dir / "checkpoints" / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert metrics["train_seconds"] == pytest.approx(sum(float(r["seconds"]) for r in history))


def test_metrics_follow_from_the_scores(run_dir):
    metrics = json.loads((run_dir / "metrics.json").read_text())
    rows = read_rows(run_dir / "scores.csv")
    assert list(rows[0]) == ["index", "true_label", "score", "label"]
    truth, label = (np.array([int(row[name]) for row in rows]) for name in ("true_label", "label"))
    score = np.array([float(row["score"]) for row in rows])
    assert metrics["auroc"] == roc_auc_score(truth, score)
    assert (label == (score > metrics["threshold"])).all()
    assert truth.mean() == 0.5


def test_scores_are_of_the_images_that_the_index_names(run_dir):
    from sklearn.datasets import load_digits

    target = load_digits().target
    for row in read_rows(run_dir / "scores.csv"):
        assert (target[int(row["index"])] != 2) == int(row["true_label"])


def test_what_a_user_sees(run_dir):
    shown = (run_dir.parents[2] / "stdout.txt").read_text()
    for text in ("ede1_loss", "ede2_loss", "AUROC", "average precision", "F1", "images/s"):
        assert text in shown
    assert str(run_dir) in shown


def test_evaluate_repeats_the_run_to_the_last_digit(run_dir, run_python):
    before = (run_dir / "metrics.json").read_bytes()
    run_python("evaluate.py", f"--run_dir={run_dir}")
    metrics, evaluation = (
        json.loads((run_dir / f"{name}.json").read_text()) for name in ("metrics", "evaluation")
    )
    assert (run_dir / "metrics.json").read_bytes() == before
    assert set(evaluation) == METRICS
    for name in METRICS - {"images_per_second"}:
        assert evaluation[name] == metrics[name]
    assert (run_dir / "evaluation.csv").read_bytes() == (run_dir / "scores.csv").read_bytes()


def test_another_decision_without_training(run_dir, run_python, tmp_path):
    terms = read_rows(run_dir / "calibration.csv")
    assert len(terms) == 32
    first, second = (np.array([float(row[n]) for row in terms]) for n in list(terms[0]))
    flags = (f"--run_dir={run_dir}", f"--output_dir={tmp_path}")
    run_python("evaluate.py", *flags, "--omega1=0.2", "--contamination=0.5")
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    expected = np.sort(0.2 * first + 0.8 * second)[::-1][16]
    assert evaluation["threshold"] == pytest.approx(expected, rel=1e-5)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert evaluation["auroc"] != metrics["auroc"]


def test_evaluate_scores_any_folder(run_dir, run_python, tmp_path):
    write_folder(tmp_path / "some", "plain", n=5, size=12)
    run_python(
        "evaluate.py",
        f"--run_dir={run_dir}",
        f"--dataset={tmp_path / 'some'}",
        f"--output_dir={tmp_path}",
    )
    rows = read_rows(tmp_path / "evaluation-some.csv")
    assert len(rows) >= 5 and {row["true_label"] for row in rows} == {""}
    assert all((tmp_path / "some" / row["path"]).is_file() for row in rows)
    evaluation = json.loads((tmp_path / "evaluation-some.json").read_text())
    assert set(evaluation) == METRICS
    assert evaluation["auroc"] is evaluation["n_anomalous"] is None


@pytest.mark.parametrize("protocol_layout", [slow("mvtec"), slow("plain")])
def test_train_on_a_folder(run_python, tmp_path, protocol_layout):
    write_folder(tmp_path / "parts", protocol_layout, n=12, size=20)
    flags = (f"--dataset={tmp_path / 'parts'}", f"--output_dir={tmp_path / 'runs'}")
    done = run_python("train.py", *flags, *SMALL)
    run = tmp_path / "runs" / "parts" / "good" / "0"
    config = json.loads((run / "config.json").read_text())
    assert config["normal"] == "good" and config["image_shape"][:2] == [32, 32]
    metrics = json.loads((run / "metrics.json").read_text())
    assert read_rows(run / "scores.csv")[0]["path"].endswith(".png")
    if protocol_layout == "plain":  # no anomalies: no error
        assert metrics["auroc"] is metrics["average_precision"] is metrics["f1"] is None
        assert "no anomalies known" in done.stdout
    else:
        assert 0 <= metrics["auroc"] <= 1
    run_python("evaluate.py", f"--run_dir={run}")
    assert json.loads((run / "evaluation.json").read_text())["auroc"] == metrics["auroc"]


@pytest.mark.parametrize("variant", [slow("autoencoder"), "single_ede", slow("twin_ede")])
def test_variants_and_the_paper_recipe(run_python, tmp_path, variant):
    run_python("train.py", *flags_of(tmp_path, f"--variant={variant}", "--recipe=paper"))
    config = json.loads((tmp_path / "digits/2/0/config.json").read_text())
    assert config["variant"] == variant and config["image_size"] == 32


def kill_in_epoch(n, flags, how):
    """Starts a training and kills it while it trains epoch n + 1."""
    work = Path(next(f for f in flags if "output_dir" in f).split("=")[1]) / "digits/2/0.unfinished"
    process = subprocess.Popen(
        [sys.executable, "train.py", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Shells let their background jobs ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    history = work / "checkpoints" / "history.csv"
    deadline = time.monotonic() + 300
    while not (history.exists() and len(history.read_text().splitlines()) > n):
        assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
        time.sleep(0.02)
    process.send_signal(how)
    return process.communicate()[0], process.returncode


def test_killed_and_resumed_is_as_never_killed(run_python, run_dir, tmp_path):
    flags = flags_of(tmp_path, "--epochs=3")
    kill_in_epoch(1, flags, signal.SIGKILL)
    refused = run_python("train.py", *flags, check=False)
    assert refused.returncode == 1 and "--resume" in refused.stderr
    assert "Traceback" not in refused.stderr
    run_python("train.py", *flags, "--resume")
    broken = tmp_path / "digits" / "2" / "0"
    assert_same_weights(broken, run_dir)
    assert (broken / "scores.csv").read_bytes() == (run_dir / "scores.csv").read_bytes()
    assert len(read_rows(broken / "checkpoints" / "history.csv")) == 3
    assert "nothing is left" in run_python("train.py", *flags, "--resume").stdout


@pytest.mark.slow
def test_stopped_by_hand_and_resumed(run_python, run_dir, tmp_path):
    flags = flags_of(tmp_path, "--epochs=3")
    shown, code = kill_in_epoch(1, flags, signal.SIGINT)
    assert code == 130 and "--resume" in shown and "Traceback" not in shown
    run_python("train.py", *flags, "--resume")
    assert_same_weights(tmp_path / "digits" / "2" / "0", run_dir)


def test_same_run_again_is_bit_equal_and_replaces(run_python, run_dir, tmp_path):
    """The same flags in another process, into a place where a run of them lies."""
    place = tmp_path / "digits/2/0"
    shutil.copytree(run_dir, place)
    (place / "model.keras").write_bytes(b"to be replaced")
    run_python("train.py", *flags_of(tmp_path, "--epochs=3"))
    assert_same_weights(place, run_dir)
    assert os.listdir(tmp_path / "digits/2") == ["0"]


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--recipe=best",), "paper|default"),
        slow(("--variant=half",), "full|twin_ede|single_ede|autoencoder"),
        slow(("--epochs=0",), "positive integer"),
        slow(("--speed=9",), "Unknown command line flag 'speed'"),
        slow(("stray",), "Received: 'stray'"),
        slow(("--dataset=nowhere",), "digits, mnist, fmnist"),
        (("--normal=42",), "0, 1, 2"),
        slow(("--normal=",), "0, 1, 2"),
        slow(("--protocol=official",), "split80"),
        (("--image_size=20",), "multiple of 8"),
        slow(("--contamination=1.5",), "below 1"),
        slow(("--jit_compile=true",), "--nodeterministic"),
        (("--output_dir=/dev/null/runs",), "/dev/null"),
        slow(("--dataset=mnist", "--data_dir=/nowhere"), "/nowhere"),
    ],
)
def test_wrong_flags_say_what_is_right(run_python, tmp_path, flags, message):
    done = run_python("train.py", *flags_of(tmp_path / "runs"), *flags, check=False)
    assert done.returncode == 1
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_no_class_named(run_python, tmp_path):
    done = run_python("train.py", f"--output_dir={tmp_path}", check=False)
    assert done.returncode == 1 and "normal" in done.stderr and "0, 1, 2" in done.stderr


@pytest.mark.parametrize("fault", [slow("nan.npz"), slow("torn.npz"), "broken.png"])
def test_wrong_data_is_one_line(run_python, tmp_path, fault):
    dataset = tmp_path / "data" / fault
    dataset.parent.mkdir()
    if fault == "broken.png":
        write_folder(dataset.parent, "plain", n=6)
        dataset.write_bytes(b"no image")
        dataset = dataset.parent
    else:
        write_npz(dataset, x_train=np.full((4, 8, 8, 1), np.nan, "float32"))
    if fault == "torn.npz":
        dataset.write_bytes(dataset.read_bytes()[:100])
    flags = (f"--dataset={dataset}", "--normal=0", f"--output_dir={tmp_path / 'runs'}")
    done = run_python("train.py", *flags, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert ("finite" if fault == "nan.npz" else fault) in done.stderr
    assert not (tmp_path / "runs").exists()


def test_evaluate_needs_a_finished_run(run_python, tmp_path):
    done = run_python("evaluate.py", f"--run_dir={tmp_path}", check=False)
    assert done.returncode == 1 and "without config.json" in done.stderr


def test_evaluate_refuses_images_of_another_shape(run_dir, run_python, tmp_path):
    write_npz(tmp_path / "other.npz", make_arrays(2, 1, (9, 9, 3)))
    flags = (f"--run_dir={run_dir}", f"--dataset={tmp_path / 'other.npz'}")
    done = run_python("evaluate.py", *flags, check=False)
    assert done.returncode == 1 and "(n, 8, 8, 1)" in done.stderr and ", 9, 9, 3)" in done.stderr


@pytest.mark.slow
def test_full_disk(run_python, tmp_path):
    """A file may grow to 200 kB here, as if the disk were full then."""
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    flags = flags_of(tmp_path, "--base_width=16")
    done = run_python("train.py", *flags, check=False, preexec_fn=limit)
    assert done.returncode == 1 and "Error" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "digits/2/0").exists()
    work = tmp_path / "digits/2/0.unfinished"
    assert not list(work.rglob("*.keras"))
    run_python("train.py", *flags, "--resume")
    assert (tmp_path / "digits/2/0/metrics.json").exists()


def test_import_is_light(run_python):
    """Keras takes in matplotlib by itself where it is installed; we add nothing of the kind."""
    code = (
        "import sys, keras, tensorflow; before = set(sys.modules); import ede_keras; "
        "print({'keras_cv', 'matplotlib', 'PIL', 'pandas'} & (set(sys.modules) - before))"
    )
    assert run_python("-c", code).stdout.strip() == "set()"


@pytest.mark.slow
def test_paths_hold_from_any_folder(run_python, tmp_path):
    """A folder named without a slash, and a home: the run is evaluated from elsewhere."""
    write_folder(tmp_path / "parts", "plain", n=12, size=16)
    home = {**os.environ, "HOME": str(tmp_path)}
    flags = ("--dataset=parts", "--output_dir=~/runs", "--epochs=1", *SMALL[1:])
    run_python(ROOT / "train.py", *flags, cwd=tmp_path, env=home)
    run_python("evaluate.py", "--run_dir=~/runs/parts/good/0", env=home)
    assert (tmp_path / "runs/parts/good/0/evaluation.json").exists()


def test_resumed_after_its_last_epoch(run_python, run_dir, tmp_path):
    """Killed between training and scoring: there is nothing left to train."""
    work = tmp_path / "digits/2/0.unfinished"
    shutil.copytree(run_dir, work)
    for name in ("metrics.json", "scores.csv", "model.keras", "calibration.csv"):
        (work / name).unlink()
    (work / "checkpoints" / ".last.1.keras").write_bytes(b"half a checkpoint")
    run_python("train.py", *flags_of(tmp_path, "--epochs=3"), "--resume")
    assert (tmp_path / "digits/2/0/scores.csv").read_bytes() == (
        run_dir / "scores.csv"
    ).read_bytes()
    assert sorted(os.listdir(tmp_path / "digits/2/0/checkpoints")) == ["history.csv", "last.keras"]


@pytest.mark.parametrize("name", [slow("config.json"), slow("metrics.json"), "model.keras"])
def test_a_damaged_run_is_said_in_one_line(run_python, run_dir, tmp_path, name):
    shutil.copytree(run_dir, tmp_path / "run")
    content = (tmp_path / "run" / name).read_bytes()
    (tmp_path / "run" / name).write_bytes(content[: len(content) // 2])
    done = run_python("evaluate.py", f"--run_dir={tmp_path / 'run'}", check=False)
    assert done.returncode == 1 and "damaged" in done.stderr and "Traceback" not in done.stderr


def test_without_tensorboard_training_goes_on(run_python, tmp_path):
    code = (
        "import sys, runpy; sys.modules['tensorboard'] = None; sys.argv[0] = 'train.py'; "
        "runpy.run_path('train.py', run_name='__main__')"
    )
    done = run_python("-c", code, *flags_of(tmp_path, "--epochs=1"))
    assert "No TensorBoard logs: pip install" in done.stdout
    assert not (tmp_path / "digits/2/0/logs").exists()
