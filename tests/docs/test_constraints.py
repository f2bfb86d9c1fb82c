"""docs/constraints.txt suits setup.cfg, and its command writes what is installed."""

import configparser
import re
from importlib import metadata

import pytest
from commands import ROOT

requirements = pytest.importorskip("packaging.requirements", reason="comes with TensorFlow")
LINE = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)==([\w.]+)")


def read(path):
    """Versions by name; every line but the first, a comment, is name==version."""
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    assert head.startswith("# ")
    matches = [LINE.fullmatch(line) for line in lines]
    assert all(matches), lines
    versions = {match[1]: match[2] for match in matches}
    assert list(versions) == sorted(versions) and len(versions) == len(lines)
    return versions


def test_they_satisfy_the_requirements():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    versions = read(ROOT / "docs/constraints.txt")
    needed = config["options"]["install_requires"].split("\n")
    for extra in ("report", "plots", "backbone", "heif", "tensorboard", "serving", "beam"):
        needed += config["options.extras_require"][extra].split("\n")
    needed = [requirements.Requirement(line) for line in needed if line]
    checked = {each.name for each in needed if each.name != "ede-keras"}
    assert {"tensorflow", "keras", "numpy", "scikit-learn", "keras-cv", "absl-py"} <= checked
    for each in needed:
        if each.name in checked:
            assert versions[each.name] in each.specifier, each
    assert not {"ede-keras", "pytest", "ruff", "mkdocs-material", "torch"} & {*versions}


def test_the_command_writes_what_is_installed(run_command, tmp_path):
    run_command("docs/constraints.py", tmp_path / "here.txt")
    versions = read(tmp_path / "here.txt")
    assert {"tensorflow", "keras", "numpy", "threadpoolctl"} <= {*versions}
    for name, version in versions.items():
        assert metadata.version(name) == version
