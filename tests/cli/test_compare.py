"""Runs beside each other: names of their own, and `ede-compare`."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
from commands import LIGHT, SMALL, flags_of, read_rows
from makers import write_folder
from PIL import Image
from sklearn.metrics import roc_auc_score

from ede_keras.cli import compare, scored_runs
from ede_keras.evaluation.metrics import auroc_interval

SHORT = (*LIGHT, "--epochs=1", "--min_steps=2")
COMPARE = ("-m", "ede_keras.cli.compare")


@pytest.fixture(scope="session")
def runs(run_command, run_dir, shared):
    """Two runs on the same test images, one on others, one without anomalies, one unfinished."""

    def fill(folder):
        shutil.copytree(run_dir, folder / "digits/2/0")
        shutil.copytree(run_dir, folder / "digits/2/9.unfinished")
        run_command("train.py", *flags_of(folder, *SHORT, "--run_name=light"))
        run_command("train.py", *flags_of(folder, *SHORT, "--seed=1"))
        parts = write_folder(folder / "images/parts", "plain", n=12, size=16)
        run_command("train.py", f"--dataset={parts}", f"--output_dir={folder}", *SMALL, *SHORT)

    return shared("compared", fill)


def read_json(path):
    return json.loads(path.read_text())


def test_a_run_with_a_name(runs):
    config = read_json(runs / "digits/2/light/config.json")
    assert (config["run_name"], config["seed"]) == ("light", 0)
    assert read_json(runs / "digits/2/1/config.json")["run_name"] is None
    assert sorted(os.listdir(runs / "digits/2")) == ["0", "1", "9.unfinished", "light"]


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "a\\b", "a.unfinished", "a.old"])
def test_a_name_is_that_of_a_folder(run_command, tmp_path, name):
    flags = flags_of(tmp_path / "runs", f"--run_name={name}")
    done = run_command("train.py", *flags, check=False)
    assert done.returncode == 1 and not (tmp_path / "runs").exists()
    assert done.stderr.startswith("Error: --run_name must be the name of a folder")
    assert done.stderr.endswith(f"Received: {name!r}\n")


def test_a_run_from_before_there_were_names(run_command, run_dir, tmp_path):
    """It counts as finished, and is evaluated."""
    run = shutil.copytree(run_dir, tmp_path / "digits/2/0")
    config = read_json(run / "config.json")
    assert config.pop("run_name", 0) is None
    (run / "config.json").write_text(json.dumps(config))
    done = run_command("train.py", *flags_of(tmp_path, "--epochs=3", "--resume"))
    assert "there is nothing to resume" in done.stdout
    run_command("evaluate.py", f"--run_dir={run}")
    assert (run / "evaluation.csv").read_bytes() == (run_dir / "scores.csv").read_bytes()


def test_a_replaced_run_is_named_with_its_auroc(run_command, runs, tmp_path):
    run = shutil.copytree(runs / "digits/2/light", tmp_path / "digits/2/light")
    metrics = read_json(run / "metrics.json")
    (run / "metrics.json").write_text(json.dumps({**metrics, "auroc": 0.12344}))
    flags = flags_of(tmp_path, *SHORT, "--run_name=light")
    line = f"Replaced the earlier run in {run}"
    assert f"{line}; its AUROC was 0.1234\n" in run_command("train.py", *flags).stdout
    (run / "metrics.json").write_text('{"auroc": null}')
    assert f"{line}\n" in run_command("train.py", *flags).stdout
    done = run_command("train.py", *flags, "--overwrite", "--verbosity=-2")
    assert done.stdout == "" and "Replaced" not in done.stderr
    assert read_json(run / "metrics.json")["auroc"] == metrics["auroc"]


def lines_of(text):
    """Each line of the table as a dict, cut where the heads begin or end."""
    head, *lines = text.splitlines()
    columns, begin = {}, 0
    for key, title in compare.HEADS.items():
        begin = head.index(title, begin)
        columns[key] = (begin, begin + len(title))
        begin += len(title)
    names = list(columns)
    found = []
    for line in lines:
        if line.startswith(("Only runs", "Test images")):
            break
        row = {}
        for i, key in enumerate(names):
            if key in compare.TEXTS:  # to the left: as far as the next column begins
                is_last = key == compare.TEXTS[-1]  # a column to the right follows
                end = columns[key][1] if is_last else columns[names[i + 1]][0]
                row[key] = line[columns[key][0] : end].strip()
            else:
                before = columns[names[i - 1]][1]
                row[key] = line[before : columns[key][1]].strip()
        found.append(row)
    return found


def test_the_table(run_command, runs, tmp_path):
    files = [f"--csv={tmp_path / 'all.csv'}", f"--roc={tmp_path / 'roc.png'}"]
    done = run_command(*COMPARE, runs, *files)
    assert done.stderr == ""
    rows, shown = read_rows(tmp_path / "all.csv"), lines_of(done.stdout)
    assert [row["run"] for row in shown] == [row["run"] for row in rows]
    assert {row["run"] for row in rows} == {
        "digits/2/0",
        "digits/2/1",
        "digits/2/light",
        "parts/good/0",
    }
    assert [row["dataset"] for row in rows] == ["digits"] * 3 + ["parts"]
    aurocs = [float(row["auroc"]) for row in rows[:3]]
    assert aurocs == sorted(aurocs, reverse=True)
    by_run = {row["run"]: row for row in rows}
    sets = {name: row["test_set"] for name, row in by_run.items()}
    assert sets["digits/2/0"] == sets["digits/2/light"] and len(set(sets.values())) == 3
    numbers = list(dict.fromkeys(row["test_set"] for row in rows))
    assert numbers == ["1", "2", "3"]
    counts = [list(sets.values()).count(number) for number in numbers]
    said = ", ".join(f"{i + 1} ({n} of the runs)" for i, n in enumerate(counts))
    last = done.stdout.splitlines()[-1]
    assert last == f"Only runs on the same test images compare: test set {said}."
    for line, row in zip(shown, rows, strict=True):
        run = runs / row["run"]
        metrics, scores = read_json(run / "metrics.json"), read_rows(run / "scores.csv")
        for key in ("n_train", "auroc", "average_precision", "train_seconds"):
            assert row[key] == ("" if metrics[key] is None else str(metrics[key]))
        pairs = [(each["true_label"], each["label"]) for each in scores]
        assert int(row["false_alarms"]) == pairs.count(("0", "1"))
        assert int(row["missed"]) == pairs.count(("1", "0"))
        patches = metrics["patches_found"]
        for column, key in (("patch_auroc", "auroc"), ("patch_pixel_auroc", "pixel_auroc")):
            mean = sum(each[key] for each in patches) / len(patches)
            assert float(row[column]) == pytest.approx(mean)
            assert line[column] == f"{mean:.3f}"
        for key in ("recipe", "variant", "dataset", "normal", "n_train", "missed"):
            assert line[key] == row[key]
        if not row["auroc"]:
            assert line["auroc"] == line["interval"] == line["average_precision"] == ""
            assert row["auroc_low"] == row["auroc_high"] == ""
            continue
        truth = np.array([int(each["true_label"]) for each in scores])
        low, high = auroc_interval([float(each["score"]) for each in scores], truth)
        assert (float(row["auroc_low"]), float(row["auroc_high"])) == (low, high)
        assert low <= float(row["auroc"]) <= high
        assert line["auroc"] == f"{metrics['auroc']:.4f}"
        assert line["interval"] == f"{low:.4f}-{high:.4f}"
    drawn = np.asarray(Image.open(tmp_path / "roc.png").convert("RGB"))
    colours = {tuple(colour) for colour in drawn.reshape(-1, 3).tolist()}
    # A curve for each run with an AUROC: matplotlib's first three colours, and not the fourth.
    first = [(31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40)]
    assert [colour in colours for colour in first] == [True, True, True, False]


def test_two_runs_by_their_folders(run_command, runs):
    folders = (runs / "digits/2/0", runs / "digits/2/light", runs / "digits/2/light/../0")
    done = run_command(*COMPARE, *folders, "--verbosity=-2")
    assert done.stdout == "" and done.stderr == ""
    done = run_command(*COMPARE, *folders)
    assert sorted(row["run"] for row in lines_of(done.stdout)) == ["0", "light"]
    assert done.stdout.endswith("\nTest images: the same in all runs, 72.\n")


def test_runs_is_the_folder_by_default(run_python, runs, tmp_path):
    """A real start: nothing but the table."""
    os.symlink(runs / "digits/2", tmp_path / "runs")
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = run_python(*COMPARE, cwd=tmp_path, env=env)
    assert done.stderr == "" and len(lines_of(done.stdout)) == 3


def test_damaged_runs_stop_nobody(run_command, runs, tmp_path):
    damage = {
        "metrics.json": (None, b'{"auroc": 0.', b"[]", b"{}"),
        "scores.csv": (None, b"", b"index,true_label,score,label\r\n1,0,0.5", "half"),
        "config.json": (None, b"{"),
    }
    names = {}
    for file, contents in damage.items():
        for i, content in enumerate(contents):
            run = shutil.copytree(runs / "digits/2/light", tmp_path / f"{file}-{i}")
            whole = (run / file).read_bytes()
            (run / file).unlink()
            if content is not None:
                half = b"\r\n".join(whole.split(b"\r\n")[:40]) + b"\r\n"
                (run / file).write_bytes(half if content == "half" else content)
            names[run.name] = file
    done = run_command(*COMPARE, tmp_path, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "Error: Expected folders with finished runs" in done.stderr
    shutil.copytree(runs / "digits/2/0", tmp_path / "whole")
    done = run_command(*COMPARE, tmp_path, runs / "nowhere")
    assert [row["run"].split("/")[-1] for row in lines_of(done.stdout)] == ["whole"]
    warned = done.stderr.splitlines()
    assert f"Warning: No finished run in {runs / 'nowhere'}" in warned
    for name, file in names.items():
        (line,) = (line for line in warned if f"{name}:" in line)
        assert line.startswith("Warning: Left out ") and file in line.split(f"{name}: ")[1]
    assert len(warned) == len(names) + 1
    assert "(images, anomalous) are (39, " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "Received: nowhere"),
        (("--roc=roc.pdf",), "--roc must be a file that ends in .png"),
        (("--rox=roc.png",), "Unknown command line flag 'rox'"),
    ],
)
def test_what_is_refused(run_command, tmp_path, arguments, message):
    done = run_command(*COMPARE, *arguments, cwd=tmp_path, check=False)
    assert done.returncode == 1 and message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr and os.listdir(tmp_path) == []


def test_a_picture_needs_anomalies_and_matplotlib(run_command, run_python, runs, tmp_path):
    flags = (runs / "parts", f"--roc={tmp_path / 'roc.png'}")
    done = run_command(*COMPARE, *flags, check=False)
    assert done.returncode == 1 and "true labels of both classes" in done.stderr
    code = (
        "import sys, runpy; sys.modules['matplotlib'] = None; sys.argv[0] = 'compare'; "
        "runpy.run_module('ede_keras.cli.compare', run_name='__main__', alter_sys=True)"
    )
    done = run_python("-c", code, *flags, check=False)
    assert done.returncode == 1 and "pip install 'ede-keras[report]'" in done.stderr
    assert os.listdir(tmp_path) == []


def test_scores_without_labels(runs, tmp_path):
    """Of a run whose test set has none: counts and metrics are blank."""
    run = shutil.copytree(runs / "digits/2/light", tmp_path / "run")
    rows = read_rows(run / "scores.csv")
    with open(run / "scores.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "true_label": ""} for row in rows)
    unknown = {"auroc": None, "average_precision": None, "n_anomalous": None}
    metrics = {**read_json(run / "metrics.json"), **unknown}
    (run / "metrics.json").write_text(json.dumps(metrics))
    row = scored_runs.read_run(run, "run").row
    blank = {key for key, value in row.items() if value is None}
    metrics = {"auroc", "auroc_low", "auroc_high", "average_precision"}
    assert blank == metrics | {"false_alarms", "missed", "test_set"}


def test_a_run_of_another_method_and_one_from_before_there_were_patches(run_command, tmp_path):
    flags = [f"--output_dir={tmp_path}", "--dataset=digits", "--normal=2"]
    run_command("train.py", *flags, "--method=pca")
    row = scored_runs.read_run(tmp_path / "digits/2/0", "run").row
    assert (row["recipe"], row["variant"]) == ("pca", None)
    assert 0.5 < row["patch_auroc"] <= 1 and 0.5 < row["patch_pixel_auroc"] <= 1
    path = tmp_path / "digits/2/0/metrics.json"
    older = read_json(path)
    del older["patches_found"]
    path.write_text(json.dumps(older))
    row = scored_runs.read_run(tmp_path / "digits/2/0", "run").row
    assert row["patch_auroc"] is row["patch_pixel_auroc"] is None
    line = lines_of(run_command(*COMPARE, tmp_path).stdout)[0]
    assert (line["recipe"], line["patch_auroc"], line["patch_pixel_auroc"]) == ("pca", "", "")


def test_classes_that_are_numbers_are_sorted_as_numbers():
    def make_run(normal, auroc):
        row = {"dataset": "coil100", "normal": normal, "auroc": auroc, "run": normal}
        return scored_runs.ScoredRun(row, normal, np.zeros(0), None)

    made = [make_run(*pair) for pair in (("10", 0.9), ("9", None), ("9", 0.2), ("9", 0.8))]
    ordered = [(run.row["normal"], run.row["auroc"]) for run in scored_runs.sort_runs(made)]
    assert ordered == [("9", 0.8), ("9", 0.2), ("9", None), ("10", 0.9)]


def test_the_interval_is_that_of_plain_resampling():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 60)
    scores = np.round(rng.normal(size=60) + truth, 1)  # with ties
    draws = np.random.default_rng(0)
    aurocs = []
    for _ in range(1000):
        drawn = np.concatenate(
            [
                draws.choice(np.flatnonzero(truth == label), (truth == label).sum())
                for label in (0, 1)
            ]
        )
        aurocs.append(roc_auc_score(truth[drawn], scores[drawn]))
    expected = np.quantile(aurocs, [0.025, 0.975])
    np.testing.assert_allclose(auroc_interval(scores, truth), expected, rtol=1e-12)
    assert expected[1] - expected[0] > 0.1
