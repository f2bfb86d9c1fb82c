"""Files and run folders are whole or not there."""

import os

import numpy as np
import pytest

from ede_keras.cli.runs import RunFolder, load_split
from ede_keras.errors import InputError
from ede_keras.utils import files

CONFIG = {"dataset": "digits", "normal": 2, "seed": 0, "epochs": 3}


def test_a_failed_write_leaves_the_old_content(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        files.write_json(path, {"a": object()})

    def fail_halfway():
        with files.atomic_path(path) as aside:
            aside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert files.read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_csv_keeps_every_digit_of_float32(tmp_path):
    values = np.random.default_rng(0).normal(size=100).astype("float32") * np.logspace(
        -30, 30, 100, dtype="float32"
    )
    files.write_csv(tmp_path / "a.csv", {"index": np.arange(100), "score": values})
    back = files.read_csv(tmp_path / "a.csv")
    assert back["index"] == [str(i) for i in range(100)]
    np.testing.assert_array_equal(np.array(back["score"], "float32"), values)


def test_a_missing_file_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError), files.reading(tmp_path / "a.keras", "train again"):
        raise ValueError("File not found")


def begin(tmp_path, resume=False, overwrite=False, **changes):
    run = RunFolder(tmp_path, {**CONFIG, **changes})
    return run, run.begin(resume, overwrite)


def finish(run, content="{}"):
    (run.work / "metrics.json").write_text(content)
    run.finish()


def test_life_of_a_run(tmp_path):
    run, state = begin(tmp_path)
    assert state == "new" and not run.final.exists()
    finish(run)
    assert run.final == tmp_path / "digits" / "2" / "0"
    assert files.read_json(run.final / "config.json") == CONFIG
    assert os.listdir(run.final.parent) == ["0"]
    assert begin(tmp_path, resume=True)[1] == "finished"


def test_a_finished_run_stays_until_the_next_one_is(tmp_path):
    finish(begin(tmp_path)[0], "1")
    run, state = begin(tmp_path)
    assert state == "new" and (run.final / "metrics.json").read_text() == "1"
    finish(run, "2")
    assert (run.final / "metrics.json").read_text() == "2"
    assert os.listdir(run.final.parent) == ["0"]


def test_an_unfinished_run_is_refused_or_resumed(tmp_path):
    begin(tmp_path)
    with pytest.raises(InputError, match="unfinished run.*--resume.*--overwrite"):
        begin(tmp_path)
    assert begin(tmp_path, resume=True)[1] == "resumed"
    assert begin(tmp_path, overwrite=True)[1] == "new"


@pytest.mark.parametrize("finished", [True, False])
def test_another_config_is_refused(tmp_path, finished):
    run, _ = begin(tmp_path)
    if finished:
        finish(run)
    for resume in (True, False):
        message = r"another config: epochs 3 \(now 4\).*--output_dir.*--overwrite"
        with pytest.raises(InputError, match=message):
            begin(tmp_path, resume=resume, epochs=4)
    run, state = begin(tmp_path, overwrite=True, epochs=4)
    assert state == "new" and run.final.exists() == finished


def test_a_folder_that_is_no_run_is_not_touched(tmp_path):
    (tmp_path / "digits" / "2" / "0").mkdir(parents=True)
    (tmp_path / "digits" / "2" / "0" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="cannot be read.*--output_dir"):
        begin(tmp_path)
    assert (tmp_path / "digits" / "2" / "0" / "thesis.txt").read_text() == "mine"


def test_killed_between_the_two_renames(tmp_path):
    finish(begin(tmp_path)[0], "1")
    run, _ = begin(tmp_path)
    (run.work / "metrics.json").write_text("2")
    os.rename(run.final, run._old)
    again, state = begin(tmp_path, resume=True)
    assert state == "resumed" and (run.final / "metrics.json").read_text() == "1"
    again.finish()
    assert (run.final / "metrics.json").read_text() == "2" and not run._old.exists()


def test_killed_before_the_first_file(tmp_path):
    run, _ = begin(tmp_path)
    (run.work / "config.json").unlink()
    assert begin(tmp_path)[1] == "new"


def test_a_run_without_metrics_counts_as_unfinished(tmp_path):
    run, _ = begin(tmp_path)
    os.rename(run.work, run.final)
    with pytest.raises(InputError, match="--resume"):
        begin(tmp_path)
    assert begin(tmp_path, resume=True)[1] == "resumed"


def test_images_that_have_moved(tmp_path):
    moved = tmp_path / "parts.npz"
    config = {"dataset": "parts", "dataset_path": str(moved), "data_dir": None}
    with pytest.raises(InputError, match=f"new place with --dataset. Received: no {moved}"):
        load_split(config, None, (8, 8, 1))
