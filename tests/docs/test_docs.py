"""The pages of docs/ are what they say: commands, snippets, names of tests."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from commands import ROOT, arguments_of, blocks
from makers import write_folder

from benchmarks import tables

PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs/pages").glob("*.md"))}
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


def test_tests_named_in_the_table_exist():
    named = re.findall(r"`(test_\w+)`", PAGES["robustness"])
    assert len(named) >= 15
    assert [name for name in named if f"def {name}(" not in TESTS] == []


def test_pictures_of_the_method(run_python, tmp_path):
    named = re.findall(r"!\[.+\]\((.+)\)", PAGES["method"])
    run_python("docs/diagrams.py", tmp_path)
    assert sorted(named) == sorted(path.name for path in tmp_path.iterdir())
    for name in named:
        drawn, committed = (
            tf.io.decode_png(tf.io.read_file(str(folder / name)))
            for folder in (tmp_path, ROOT / "docs/pages")
        )
        assert drawn.shape == committed.shape and np.ptp(drawn) > 200


def test_the_table_of_speed_is_the_committed_one():
    assert (tables.RESULTS / "speed.md").read_text() in PAGES["performance"]


def test_the_variable_of_several_workers():
    (text,) = re.findall(r"TF_CONFIG='(.+)'", PAGES["devices"])
    config = json.loads(text)
    assert len(config["cluster"]["worker"]) == 2
    assert config["task"] == {"type": "worker", "index": 0}


def test_a_snippet_of_recipes():
    (snippet,) = blocks(PAGES["recipes"], "python")
    names = {}
    exec(snippet, names)
    assert names["model_arguments"]["latent_dim"] == names["model"].latent_dim == 64


@pytest.mark.slow
def test_commands_for_ones_own_images(run_command, tmp_path, monkeypatch):
    """In their order, on a made folder and for one epoch; then the snippet with the run's model."""
    write_folder(tmp_path / "path/to/parts", "mvtec", n=8, size=70)
    write_folder(tmp_path / "path/to/new_images", "plain", n=3, size=40)
    for block in blocks(PAGES["own_images"], "sh"):
        run_command(*arguments_of(block, tmp_path))
    run = tmp_path / "runs/parts/good/0"
    assert (run / "evaluation.html").exists() and (run / "evaluation-new_images.csv").exists()
    shutil.copy(run / "model.keras", tmp_path)
    np.save(
        tmp_path / "normal_images.npy", np.random.default_rng(0).integers(0, 256, (9, 70, 70, 3))
    )
    monkeypatch.chdir(tmp_path)
    (snippet,) = blocks(PAGES["own_images"], "python")
    exec(snippet, {})
    assert (tmp_path / "recalibrated.keras").exists()


@pytest.mark.slow
def test_the_command_of_recipes(run_command, tmp_path):
    (block,) = blocks(PAGES["recipes"], "sh")
    run_command(*block.split()[1:], f"--output_dir={tmp_path}")
