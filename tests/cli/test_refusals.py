"""What the commands say of wrong flags, wrong data and damaged runs: one line, exit code 1."""

import shutil

import numpy as np
import pytest
from commands import LIGHT, SMALL, flags_of, slow
from makers import make_arrays, write_folder, write_npz


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--recipe=best",), "auto|paper|default_no_pretext|features|default"),
        (("--variant=half",), "full|twin_ede|single_ede|autoencoder"),
        (("--epochs=0",), "positive integer"),
        (("--speed=9",), "Unknown command line flag 'speed'"),
        (("stray",), "Received: 'stray'"),
        (("--dataset=nowhere",), "digits, mnist, fmnist"),
        (("--normal=42",), "0, 1, 2"),
        (("--normal=",), "0, 1, 2"),
        (("--protocol=official",), "split80"),
        (("--image_size=20",), "multiple of 8"),
        (("--contamination=1.5",), "below 1"),
        (("--learning_rate=0",), "above 0, finite"),
        (("--learning_rate=nan",), "above 0, finite"),
        (("--jit_compile=true",), "--nodeterministic"),
        (("--resume", "--overwrite"), "At most one of (resume, overwrite)"),
        (("--output_dir=/dev/null/runs",), "/dev/null"),
        (("--dataset=mnist", "--data_dir=/nowhere"), "/nowhere"),
        (("--dataset=tests", "--data_dir=."), "--data_dir is the folder of a built-in data set"),
    ],
)
def test_wrong_flags_say_what_is_right(run_command, tmp_path, flags, message):
    done = run_command("train.py", *flags_of(tmp_path / "runs"), *flags, check=False)
    assert done.returncode == 1
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_no_class_named(run_command, tmp_path):
    done = run_command("train.py", f"--output_dir={tmp_path}", check=False)
    assert done.returncode == 1 and "normal" in done.stderr and "0, 1, 2" in done.stderr


@pytest.mark.parametrize("fault", ["nan.npz", "torn.npz", "broken.png"])
def test_wrong_data_is_one_line(run_command, tmp_path, fault):
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
    flags = (f"--dataset={dataset}", "--normal=0", f"--output_dir={tmp_path / 'runs'}", "--strict")
    done = run_command("train.py", *flags, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert ("finite" if fault == "nan.npz" else fault) in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_models_name_without_a_server(run_command, tmp_path):
    flags = (f"--run_dir={tmp_path}", "--model_name=parts")
    done = run_command("evaluate.py", *flags, check=False)
    assert done.returncode == 1 and "--model_name works only with --server" in done.stderr


@pytest.mark.parametrize("n", [1, slow(2), slow(3)])
def test_a_class_of_few_images(run_command, tmp_path, n):
    """Refused before anything is trained; without the pretext two are enough."""
    folder = write_folder(tmp_path / "parts", "plain", n=n, size=8)
    flags = (f"--dataset={folder}", f"--output_dir={tmp_path / 'runs'}", *SMALL)
    done = run_command("train.py", *flags, check=False)
    assert done.returncode == 1 and "at least 2" in done.stderr and "Epoch" not in done.stdout
    assert not (tmp_path / "runs").exists()
    if n == 3:
        run_command("train.py", *flags, *LIGHT)


def test_evaluate_needs_a_finished_run(run_command, tmp_path):
    done = run_command("evaluate.py", f"--run_dir={tmp_path}", check=False)
    assert done.returncode == 1 and "without config.json" in done.stderr


def test_evaluate_names_a_folder_that_it_may_not_write_to(run_command, run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    (tmp_path / "run").chmod(0o555)
    flags = (f"--run_dir={tmp_path / 'run'}",)
    done = run_command("evaluate.py", *flags, check=False, bound=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"another with --output_dir. Received: {tmp_path / 'run'}" in done.stderr


def test_evaluate_refuses_images_of_another_shape(run_dir, run_command, tmp_path):
    write_npz(tmp_path / "other.npz", make_arrays(2, 1, (9, 9, 3)))
    flags = (f"--run_dir={run_dir}", f"--dataset={tmp_path / 'other.npz'}")
    done = run_command("evaluate.py", *flags, check=False)
    assert done.returncode == 1 and "(n, 8, 8, 1)" in done.stderr and ", 9, 9, 3)" in done.stderr


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "model.keras", "calibration.csv"])
@pytest.mark.parametrize("ending", [slow(b""), b"\n"])
def test_a_damaged_run_is_said_in_one_line(run_command, run_dir, tmp_path, name, ending):
    shutil.copytree(run_dir, tmp_path / "run")
    content = (tmp_path / "run" / name).read_bytes()
    end = content.rindex(ending, 0, len(content) // 2)
    (tmp_path / "run" / name).write_bytes(content[:end] + ending)
    flags = (f"--run_dir={tmp_path / 'run'}", "--contamination=0.1")
    done = run_command("evaluate.py", *flags, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{name} is damaged; train the run again" in done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--tile=64",), "--tile must be at most the shorter side of the images"),
        (("--max_value=4095",), "--max_value has no effect on pixels of 8 bits"),
        (("--variant=autoencoder", "--omega1=0.3"), "--omega1 has no effect with this variant"),
        (
            ("--pretext=none", "--pretext_views=2"),
            "--pretext_views has no effect with pretext none",
        ),
    ],
)
def test_flags_without_effect_or_beyond_the_images(run_command, tmp_path, flags, message):
    folder = write_folder(tmp_path / "parts", "plain", n=4, size=40)
    flags = (f"--dataset={folder}", f"--output_dir={tmp_path / 'runs'}", *flags)
    done = run_command("train.py", *flags, check=False)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_layout_is_that_of_a_folder(run_command, tmp_path):
    flags = ("--dataset=digits", "--normal=2", "--layout=classes", f"--output_dir={tmp_path}")
    done = run_command("train.py", *flags, check=False)
    assert done.returncode == 1 and "--layout works only with a folder of images" in done.stderr
