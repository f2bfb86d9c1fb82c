"""README's commands, snippets and numbers are what they say."""

import re

import numpy as np
import pytest
from commands import ROOT, blocks

from benchmarks import pages, tables

README = (ROOT / "README.md").read_text()
PAGES = [path.read_text() for path in (ROOT / "docs/pages").glob("*.md")]
_, MEANS, AFTER_MEANS = pages.split_at_marks(README, "means")


def test_it_is_short():
    assert len(README.splitlines()) < 150


def test_two_commands_are_marked_for_ci():
    (block,) = re.findall(r"<!-- ci -->\n```sh\n(.*?)```", README, flags=re.S)
    assert block.splitlines() == [
        "pip install -e . && python train.py --dataset=digits --normal=2",
        "pip install -e '.[test]' && pytest",
    ]


def test_the_script_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script, _ = blocks(README, "python")  # the other one, the client's, is in test_client.py
    names = {}
    short = script.replace("seed=0)\nmodel.calibrate", "seed=0, epochs=1)\nmodel.calibrate")
    assert short != script
    exec(short, names)
    assert set(names["result"]) == {"score", "label", "anomaly_map"}
    assert np.isfinite(names["result"]["score"]).all()
    assert (tmp_path / "model.keras").exists()


def commands(text=README):
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    return [line.split("#")[0].strip() for line in lines]


def test_every_flag_in_readme_and_docs_exists(run_command):
    shown = {
        name: run_command(*start.split(), "--help", check=False).stdout
        for name, start in {
            "train.py": "train.py",
            "evaluate.py": "evaluate.py",
            "-m ede_keras.export": "-m ede_keras.export",
            "ede-compare": "-m ede_keras.cli.compare",
        }.items()
    }
    used = [
        (script, flag)
        for text in (README, *PAGES)
        for command in commands(text)
        for part in command.split("&&")
        for script in re.findall(r"(?<=python )(?:\S+\.py|-m ede_keras\.\w+)|ede-compare", part)
        if script != "-m ede_keras.beam"  # an extra; test_beam.py runs its commands as they stand
        for flag in re.findall(r"--(\w+)", part)
    ]
    assert len(used) >= 6
    for text in ("digits, mnist, fmnist", "<auto|paper|default_no_pretext|features|default>"):
        assert text in shown["train.py"]
    assert {("ede-compare", "csv"), ("ede-compare", "roc"), ("train.py", "run_name")} <= {*used}
    for script, flag in used:
        assert re.search(rf"--(\[no\])?{flag}\b", shown[script]), f"{script} has no --{flag}"


def test_the_commands_for_ones_own_images_are_those_of_the_page():
    """`test_commands_for_ones_own_images` runs them there."""
    lines = [line for line in commands() if "path/to" in line and "--server" not in line]
    assert len(lines) == 2
    assert {*lines} <= {*commands((ROOT / "docs/pages/own_images.md").read_text())}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"[\"(](docs/[^)\"]+\.png)", README))))
def test_pictures_are_there(name):
    assert (ROOT / name).stat().st_size > 1000


def test_pages_that_are_linked_exist():
    linked = re.findall(r"\]\((docs/[^)#]+)(?:#([\w-]+))?\)", README)
    assert len(linked) > 10
    assert [name for name, _ in linked if not (ROOT / name).exists()] == []
    assert ("docs/pages/method.md", "the-objective-as-printed") in linked
    assert "\n## The objective as printed\n" in (ROOT / "docs/pages/method.md").read_text()


def test_the_means_are_those_of_the_committed_results():
    assert f"{pages.render_all()[pages.README]['means']}\n" == MEANS


def test_the_text_agrees_with_the_means():
    """Each claim of the list beside the table."""
    heads, _, *rows = ([cell.strip() for cell in row.split("|")] for row in MEANS.splitlines())
    means = {
        row[1]: {
            name: float(cell[:5].strip(" ,"))
            for name, cell in zip(heads, row, strict=True)
            if name in (*tables.MEANS, "best simple method") and cell
        }
        for row in rows
    }
    claims = AFTER_MEANS.split("\n\n[All results]")[0]
    paper = [row["paper"] for row in means.values() if "paper" in row]
    assert "about .3" in claims and {round(value, 1) for value in paper} == {0.3}
    # "one split of MNIST", "the ablation has the paper's order"
    groups = tables.group_runs(tables.read_results())
    ablation = [
        tables.mean_over_classes(groups["mnist", "official", "default_no_pretext", variant])[0]
        for variant in ("full", "twin_ede", "single_ede", "autoencoder")
    ]
    quoted = [float(number) for number in re.findall(r"\.\d{3}\b", claims)]
    assert quoted == [round(mean, 3) for mean in ablation] == sorted(quoted, reverse=True)
    ahead = [data for data, row in means.items() if row["best simple method"] > row["default"]]
    assert ahead == ["digits, split80"]
    assert MEANS.count("nearest neighbour") == len(means)
