"""The pages of docs/ are what they say: commands, snippets, names of tests."""

import importlib
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from commands import ROOT, arguments_of, blocks
from makers import write_folder
from test_layout import FLOORS

from benchmarks import pages, tables

PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs/pages").glob("*.md"))}
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))


def test_tests_named_in_the_table_exist():
    named = re.findall(r"`(test_\w+)`", PAGES["robustness"])
    assert len(named) >= 15
    assert [name for name in named if f"def {name}(" not in TESTS] == []


def test_pictures_of_the_method(run_command, tmp_path):
    named = re.findall(r"!\[.+\]\((.+)\)", PAGES["method"])
    run_command("docs/diagrams.py", tmp_path)
    assert sorted(named) == sorted(path.name for path in tmp_path.iterdir())
    for name in named:
        drawn, committed = (
            tf.io.decode_png(tf.io.read_file(str(folder / name)))
            for folder in (tmp_path, ROOT / "docs/pages")
        )
        assert drawn.shape == committed.shape and np.ptp(drawn) > 200


@pytest.mark.parametrize("path", sorted(tables.RESULTS.glob("*.md")), ids=lambda path: path.stem)
def test_a_table_of_speed_is_the_committed_one(path):
    page = "performance" if path.stem.startswith("speed-") else "serving"
    assert path.read_text() in PAGES[page]


@pytest.mark.parametrize(("name", "part"), pages.render_all()[pages.RESULTS_PAGE].items())
def test_the_numbers_are_those_of_the_committed_results(name, part):
    assert pages.split_at_marks(PAGES["results"], name)[1] == f"{part}\n"


@pytest.mark.parametrize("page", PAGES)
def test_pictures_are_there(page):
    for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGES[page]):
        assert (ROOT / "docs/pages" / name).stat().st_size > 1000


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages_and_headings(page):
    for target, heading in re.findall(r"\]\((\w*)(?:\.md)?(?:#([\w-]+))?\)", PAGES[page]):
        text = PAGES[target or page]
        slugs = [title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.M)]
        assert not heading or heading in [re.sub(r"[^\w-]", "", slug) for slug in slugs]


def test_every_page_is_in_the_navigation():
    listed = re.findall(r": (\w+)\.md$", (ROOT / "docs/mkdocs.yml").read_text(), flags=re.M)
    assert sorted(listed) == sorted(PAGES)


@pytest.mark.parametrize("page", sorted(PAGES.keys() - {"extending"}))  # files of its reader
def test_files_that_are_named_exist(page):
    named = set(re.findall(r"`([\w/]+\.py)`", PAGES[page]))
    assert named or page not in ("paper_map", "layout")
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "ede_keras" / name).exists(), name


def test_names_of_the_map_are_in_the_files_beside_them():
    rows = [line.split("|") for line in PAGES["paper_map"].splitlines() if line.count("|") == 4]
    assert len(rows) > 15
    for _, _, code, files, _ in rows[2:]:
        named = re.findall(r"`([\w/]+\.py)`", files)
        paths = [ROOT / "ede_keras" / name for name in (*named, "models/arguments.py")]
        text = "".join(path.read_text() for path in paths)
        for name in re.findall(r"`(\w+)`", code):
            assert re.search(rf"\b{name}\b", text), f"{name} is not in {named}"


def test_the_drawing_has_the_floors_of_the_tested_rule():
    drawing = blocks(PAGES["layout"], "")[0].splitlines()
    drawn = [set(re.findall(r"\w+(?=/|\.py)", line)) for line in drawing]
    drawn[0] = set(drawing[0].split("import paths")[1].split())
    floors = [floor - {"__init__"} for floor in FLOORS]
    assert [floor for floor in drawn if floor] == floors[::-1]


def test_the_layout_names_every_folder():
    folders = {
        f"{path.parent.relative_to(ROOT / 'ede_keras')}/"
        for path in (ROOT / "ede_keras").rglob("*.py")
        if path.parent.name != "ede_keras"
    }
    table = PAGES["layout"].split("## Folders")[1]
    assert folders == set(re.findall(r"^\| `([\w/]+/)`", table, flags=re.M))


def test_short_import_paths_lead_where_the_page_says():
    rows = re.findall(r"^\| `(ede_keras\.\w+)` \| `([\w.]+)` \|$", PAGES["layout"], flags=re.M)
    assert {short.split(".")[1] for short, _ in rows} == FLOORS[-1] - {"__init__"}
    for short, module in rows:
        short, module = importlib.import_module(short), importlib.import_module(module)
        names = [name for name in vars(short) if not name.startswith("__")]
        assert names
        assert all(getattr(short, name) is getattr(module, name) for name in names)


def test_the_variable_of_several_workers():
    (text,) = re.findall(r"TF_CONFIG='(.+)'", PAGES["devices"])
    config = json.loads(text)
    assert len(config["cluster"]["worker"]) == 2
    assert config["task"] == {"type": "worker", "index": 0}


def test_a_snippet_of_recipes():
    (snippet,) = blocks(PAGES["recipes"], "python")
    names = {}
    exec(snippet, names)
    assert names["model_arguments"].latent_dim == names["model"].latent_dim == 64


@pytest.mark.slow
def test_commands_for_ones_own_images(run_command, tmp_path, monkeypatch):
    """In their order, on a made folder and for one epoch; then the snippet with the run's model."""
    write_folder(tmp_path / "path/to/parts", "mvtec", n=8, size=70)
    write_folder(tmp_path / "path/to/new_images", "plain", n=3, size=40)
    write_folder(tmp_path / "path/to/good_parts", "plain", n=9, size=40)
    for block in blocks(PAGES["own_images"], "sh"):
        if "--watch" not in block:  # goes on until Ctrl+C; test_watch.py runs it
            run_command(*arguments_of(block, tmp_path))
    run = tmp_path / "runs/parts/good/0"
    assert (run / "evaluation.html").exists() and (run / "evaluation-new_images.csv").exists()
    assert (tmp_path / "path/to/maps/regions.csv").exists()
    shutil.copy(run / "model.keras", tmp_path)
    np.save(
        tmp_path / "normal_images.npy", np.random.default_rng(0).integers(0, 256, (9, 70, 70, 3))
    )
    monkeypatch.chdir(tmp_path)
    score, recalibrate = blocks(PAGES["own_images"], "python")
    names = {}
    exec(score, names)
    assert len(names["found"]["score"]) == len(names["found"]["anomaly_map"]) > 0
    with pytest.warns(UserWarning, match="reconstructions explain"):  # the last run has tiles
        exec(recalibrate, {})
    assert (tmp_path / "recalibrated.keras").exists()


@pytest.mark.slow
def test_the_command_of_recipes(run_command, tmp_path):
    # The other block is of recipe features, which test_recipe_choice.py trains.
    block, _ = blocks(PAGES["recipes"], "sh")
    run_command(*block.split()[1:], f"--output_dir={tmp_path}")
