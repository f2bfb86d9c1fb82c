"""README's commands and snippets are what they say."""

import re

import numpy as np
import pytest
from commands import ROOT, arguments_of, blocks
from makers import write_folder

from benchmarks import tables

README = (ROOT / "README.md").read_text()
PAGES = [path.read_text() for path in (ROOT / "docs/pages").glob("*.md")]


def test_the_script_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script, _ = blocks(README, "python")  # the other one, the client's, is in test_client.py
    names = {}
    exec(script.replace("epochs=100", "epochs=1"), names)
    assert set(names["result"]) == {"score", "label", "anomaly_map"}
    assert np.isfinite(names["result"]["score"]).all()
    assert (tmp_path / "model.keras").exists()


def commands(text=README):
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    return [line.split("#")[0].strip() for line in lines]


def test_every_flag_in_readme_and_docs_exists(run_command):
    shown = {
        name: run_command(*name.split(), "--help", check=False).stdout
        for name in ("train.py", "evaluate.py", "-m ede_keras.export")
    }
    used = [
        (script, flag)
        for text in (README, *PAGES)
        for command in commands(text)
        for part in command.split("&&")
        for script in re.findall(r"python (\S+\.py|-m ede_keras\.\w+)", part)
        if script != "-m ede_keras.beam"  # an extra; test_beam.py runs its commands as they stand
        for flag in re.findall(r"--(\w+)", part)
    ]
    assert len(used) >= 6
    for text in ("digits, mnist, fmnist", "<paper|default_no_pretext|default>"):
        assert text in shown["train.py"]
    for script, flag in used:
        assert re.search(rf"--(\[no\])?{flag}\b", shown[script]), f"{script} has no --{flag}"


@pytest.mark.slow
def test_the_commands_for_ones_own_images(run_command, tmp_path):
    """The README's third and fourth command, on a made folder and for one epoch."""
    write_folder(tmp_path / "path/to/parts", "mvtec", n=8, size=16)
    write_folder(tmp_path / "path/to/new_images", "plain", n=3, size=40)
    lines = [line for line in commands() if "path/to" in line and "--server" not in line]
    assert len(lines) == 2
    for line in lines:
        run_command(*arguments_of(line, tmp_path))
    assert (tmp_path / "runs/parts/good/0/evaluation-new_images.csv").exists()


def test_files_named_in_the_map_exist():
    for name in set(re.findall(r"`([\w/]+\.py)`", README)):
        assert (ROOT / name).exists() or (ROOT / "ede_keras" / name).exists(), name


@pytest.mark.parametrize("name", sorted(set(re.findall(r"[\"(](docs/[^)\"]+\.png)", README))))
def test_pictures_are_there(name):
    assert (ROOT / name).stat().st_size > 1000


@pytest.mark.parametrize("name, part", tables.render_all().items())
def test_the_numbers_are_those_of_the_committed_results(name, part):
    assert tables.split_at_marks(README, name)[1] == f"{part}\n"
