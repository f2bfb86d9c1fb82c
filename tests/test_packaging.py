"""What `pip install` of the built package gives outside of the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile

import pytest
from commands import LIGHT, ROOT, SMALL

pytestmark = pytest.mark.slow
SOURCES = (
    "ede_keras",
    "tests",
    "benchmarks",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
BUILD = """
from setuptools import build_meta
build_meta.build_sdist("dist")
build_meta.build_wheel("dist")
"""


def run(*command, cwd):
    """Runs a command without a trace of the checkout in its environment; returns its stdout."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the source distribution and the wheel, built from a copy of the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name)
        else:
            shutil.copy(ROOT / name, copy)
    (copy / "dist").mkdir()
    run(sys.executable, "-c", BUILD, cwd=copy)
    return copy / "dist"


@pytest.fixture(scope="module")
def wheel(dist):
    (path,) = dist.glob("*.whl")
    return path


def test_the_packages_hold_what_they_need(dist, wheel):
    needed = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ede_keras").rglob("*.py")}
    report = {f"ede_keras/evaluation/report.{kind}" for kind in ("html", "css", "js")}
    needed |= {"ede_keras/py.typed", *report}
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
    assert names == needed
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as file:
        names = {name.split("/", 1)[-1] for name in file.getnames()}
    assert needed | {"LICENSE", "README.md", "pyproject.toml", "setup.cfg"} <= names


def test_the_installed_commands(wheel, tmp_path):
    """From training to export, in an environment that has the wheel installed."""
    pytest.importorskip("pip", reason="pip installs the wheel")
    environment, work = tmp_path / "environment", tmp_path / "work"
    work.mkdir()
    venv.create(environment, symlinks=True)
    scripts = environment / "bin"
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python")
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=work)
    # What the package needs is borrowed from this environment. Its own editable installation is
    # not: Python follows no .pth file in a folder that a .pth file names.
    (site_packages,) = environment.glob("lib/python3*/site-packages")
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))

    find = "import importlib.util; print(importlib.util.find_spec('ede_keras').origin)"
    found = run(scripts / "python", "-c", find, cwd=work).strip()
    assert found == str(site_packages / "ede_keras/__init__.py")

    flags = ("--dataset=digits", "--normal=2", "--output_dir=runs", *SMALL, *LIGHT)
    assert "AUROC" in run(scripts / "ede-train", *flags, cwd=work)
    trained = work / "runs/digits/2/0"
    metrics = json.loads((trained / "metrics.json").read_text())
    assert "\ndigits/2/0 " in run(scripts / "ede-compare", cwd=work)
    run(scripts / "ede-evaluate", f"--run_dir={trained}", "--report", cwd=work)
    assert json.loads((trained / "evaluation.json").read_text())["auroc"] == metrics["auroc"]
    assert "AUROC" in (trained / "evaluation.html").read_text()
    run(scripts / "ede-export", f"--run_dir={trained}", "--output_dir=served", cwd=work)
    assert (work / "served/1/saved_model.pb").exists()
