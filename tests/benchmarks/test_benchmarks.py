"""The runner of the tables: what it measures, keeps, leaves out and writes down."""

import json

import numpy as np
import pytest
from commands import ROOT
from makers import write_folder

from benchmarks import figures, held_out, pages, rendering, simple, tables
from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.models.recipes import RECIPES


def line(normal, seed, auroc, recipe="default", **more):
    facts = {"dataset": "mnist", "protocol": "official", "variant": "full", "recipe": recipe}
    return {**facts, "normal": normal, "seed": seed, "auroc": auroc, **more}


def test_a_table_has_means_and_deviations():
    lines = [line(c, seed, 0.9 + c / 100 + seed / 50) for c in range(10) for seed in range(3)]
    lines += [line(c, 0, 0.5, "paper") for c in range(3)]
    rows = rendering.render_table(lines, "2").splitlines()
    assert len(rows) == 4
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert cells[0] == ["data", "recipe", "mean", *(str(c) for c in range(10))]
    assert cells[2][:3] == ["mnist, official", "default", ".965 ± .016"]
    assert cells[2][3] == ".920 ± .016" and cells[2][12] == "1.010 ± .016"
    assert cells[3] == ["mnist, official", "paper", "", ".500", ".500", ".500", *[""] * 7]


def test_a_table_holds_its_own_runs_alone():
    lines = [line(0, 0, 0.9), line(0, 7, 0.1), line(0, 0, 0.2, protocol="split80")]
    lines += [line(0, 0, 0.3, "default_no_pretext"), line(0, 0, 0.4, variant="twin_ede")]
    assert "| .900 |" in rendering.render_table(lines, "2")
    ablation = rendering.render_table(lines, "5")
    assert len(ablation.splitlines()) == 5
    for text in ("full, default |", "full, default_no_pretext |", "twin_ede, default |"):
        assert text in ablation


def test_a_row_shows_equation_8_without_the_memory():
    lines = [line(c, 0, 0.9, "features", equation8_auroc=0.8) for c in range(10)]
    rows = rendering.render_table([*lines, line(0, 0, 0.7, "paper")], "2").splitlines()
    assert rows[2].startswith("| mnist, official | features | .900 |")
    assert rows[3].startswith("| mnist, official | features, Equation (8) alone | .800 |")
    assert rows[4].startswith("| mnist, official | paper |")


def test_the_table_of_means_has_a_column_per_method():
    lines = [line(c, seed, 0.9 + seed / 50) for c in range(10) for seed in range(3)]
    lines += [line(c, 0, 0.5, "paper") for c in range(9)]  # one class is missing
    lines += [line(c, 0, 0.8, "default_no_pretext") for c in range(10)]
    lines += [line(c, 0, 0.7, "default_no_pretext", variant="autoencoder") for c in range(10)]
    lines += [line(c, 0, 0.6 + c / 100, "pca") for c in range(10)]
    lines += [line(c, 0, 0.6, "kernel_density") for c in range(10)]
    lines += [line(c, 5, 0.1) for c in range(10)]  # a seed of no table
    heads, _, *rows = (
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in rendering.render_means(lines).splitlines()
    )
    assert heads == ["data, protocol", *tables.MEANS, "best simple method"]
    (row,) = (row for row in rows if row[0] == "mnist, official")
    assert row[1:] == [".920 ± .016", "", ".800", ".700", "", ".645, pca"]
    others = [row for row in rows if row[0] != "mnist, official"]
    assert [row[0] for row in others][-1] == "cifar10, official" and len(others) == 4
    assert all(cell == "" for row in others for cell in row[1:])


def test_the_report_replaces_what_stands_between_its_marks(tmp_path):
    names = {"README.md": ["means"], "docs/pages/results.md": []}
    names["docs/pages/results.md"] = [
        *(f"table {table}" for table in tables.TABLES),
        "held out",
        "parts",
        "audit",
    ]
    (tmp_path / "docs/pages").mkdir(parents=True)
    for page, parts in names.items():
        marked = [f"<!-- {name} -->\nold\n<!-- end of {name} -->" for name in parts]
        (tmp_path / page).write_text("before\n" + "\nbetween\n".join(marked) + "\nafter\n")
    for c in range(10):
        tables.append_line(tmp_path / "results/one.jsonl", line(c, 0, 0.9 - c / 100))
    tables.append_line(tmp_path / "results/two.jsonl", line(1, 1, 0.7))
    for seed, rule in enumerate(("half", "fifth", "fifth")):
        held = {"set": "elpv", "n": 10, "rule": rule, "auroc": 0.7 + seed / 10, "missed": 0.25}
        path = tmp_path / "results/held_out/held_out.jsonl"
        tables.append_line(path, {**held, "false_alarms": seed / 10})
    part = {"set": "screw", "recipe": "features", "seconds": 9, "ms_an_image": 3}
    tables.append_line(tmp_path / "results/parts/parts.jsonl", {**part, "auroc": 0.75})
    audits = {"auroc_by_batch_statistics": 0.97, "auroc_by_test_epoch": 0.91}
    tables.append_line(tmp_path / "results/audit/audit.jsonl", line(0, 0, 0.9, **audits))
    pages.write_report(tmp_path / "results", tmp_path)
    for page, parts in names.items():
        text = (tmp_path / page).read_text()
        assert "old" not in text and text.startswith("before\n") and text.endswith("\nafter\n")
        assert text.count("between") == len(parts) - 1
    assert "| .900 | .795 ± .095 |" in text and "| .900 | .970 | .910 |" in text
    assert "| screw | features | 1 | .750 |" in text
    assert "| elpv | 10 | half | 1 | .700 | .000 | .250 |" in text
    assert "| elpv | 10 | fifth | 2 | .850 | .150 | .250 |" in text
    assert "| mnist, official | .855 |" in (tmp_path / "README.md").read_text()


def test_results_of_an_earlier_form_of_a_recipe_are_marked():
    earlier = f"{tables.EARLIER}default"
    lines = [line(c, 0, 0.8, earlier) for c in range(10)]
    assert "| mnist, official | .800 (earlier) |" in rendering.render_means(lines)
    assert "| mnist, official | earlier default | .800 |" in rendering.render_table(lines, "2")
    lines += [line(c, 0, 0.9) for c in range(10)]
    assert "| mnist, official | .900 |" in rendering.render_means(lines)


@pytest.mark.parametrize("method", simple.METHODS)
def test_simple_methods_score_anomalies_higher(method):
    split = make_split(load_dataset("digits"), normal=6)
    scores = simple.score(method, split, seed=0)
    assert scores.shape == split.y_test.shape and np.isfinite(scores).all()
    normal, anomalous = (np.median(scores[split.y_test == label]) for label in (0, 1))
    assert anomalous > normal


@pytest.mark.slow
def test_the_runner_on_digits(run_command, tmp_path):
    """Two classes, one epoch, a detector and a simple method; then all that is left to do."""
    results = tmp_path / "results" / "accuracy.jsonl"

    def run(*flags):
        done = run_command(
            "-m",
            "benchmarks.accuracy",
            "--table=1",
            "--datasets=digits",
            f"--results={results}",
            "--epochs=1",
            *flags,
        )
        return [text for text in done.stdout.splitlines() if " AUROC " in text]

    assert len(run("--classes=2", "--seeds=0", "--recipe=default")) == 1
    assert len(run("--classes=2", "--seeds=0", "--recipe=pca")) == 1
    assert len(run("--classes=2,3", "--seeds=0", "--recipe=pca")) == 1  # class 2 is there already
    assert len(run("--classes=2", "--seeds=0", "--recipe=default")) == 0
    lines = tables.read_lines(results)
    assert [(found["normal"], found["recipe"]) for found in lines] == [
        (2, "default"),
        (2, "pca"),
        (3, "pca"),
    ]
    for found in lines:
        assert found["dataset"] == "digits" and found["protocol"] == "split80"
        assert found["variant"] == "full" and 0 <= found["auroc"] <= 1 and found["seconds"] > 0
        nested = [name for name, value in found.items() if isinstance(value, dict)]
        is_detector = found["recipe"] == "default"
        assert nested == (["false_alarms", "terms"] if is_detector else [])
        assert not {"data_dir", "dataset_path"} & set(found)
        assert found["tensorflow_version"]
    assert lines[0]["pretext"] == "rotations_and_shifts" and lines[0]["epochs"] == 1


def test_lines_of_an_older_recipe_are_not_taken(run_command, tmp_path):
    older = line(2, 0, 0.9, dataset="digits", protocol="split80", latent_dim=3, n_train=109)
    older["image_shape"] = [8, 8, 1]
    (tmp_path / "results.jsonl").write_text(json.dumps(older) + "\n")
    flags = ("--table=1", "--datasets=digits", "--classes=2", "--seeds=0", "--recipe=default")
    flags += (f"--results={tmp_path / 'results.jsonl'}",)
    done = run_command("-m", "benchmarks.accuracy", *flags, check=False)
    assert done.returncode == 1 and "another version of the recipe" in done.stderr


def test_committed_lines_are_of_the_recipes_as_they_are():
    lines = tables.read_results(ROOT / "benchmarks/results")
    keys = [tuple(found[name] for name in tables.KEY) for found in lines]
    assert len(keys) == len(set(keys))
    assert all(tables.is_current(found) for found in lines if found["recipe"] in RECIPES)


def test_bars_of_a_table_that_is_whole():
    lines = [line(c, seed, 0.9 + seed / 50) for c in range(10) for seed in range(3)]
    assert figures.draw_table(lines[:-3], "2") is None  # a class is missing
    lines += [line(c, 0, 0.5, "paper") for c in range(10)]
    (axis,) = figures.draw_table(lines, "2").axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["paper", "default"]
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([0.5, 0.92])
    assert axis.get_title() == "mnist, official"


def test_roc_curves_name_their_area(tmp_path):
    path = tmp_path / "cifar10-deer-seed0.csv"
    path.write_text("fpr,tpr\n0,0\n0.5,1\n1,1\n")
    (axis,) = figures.draw_roc([path]).axes
    assert axis.get_legend_handles_labels()[1] == ["cifar10 deer seed0: 0.75"]


@pytest.mark.slow
def test_an_audit_measures_both_mistakes(run_command, tmp_path):
    results = tmp_path / "audit.jsonl"
    flags = ("--classes=8", "--epochs=2", f"--results={results}")
    for _ in range(2):
        run_command("-m", "benchmarks.audit", *flags)
    (found,) = tables.read_lines(results)  # the second time it is there already
    assert found["auroc_by_batch_statistics"] != found["auroc"]
    assert found["average_precision"] > 0 and found["keras_version"] and found["seconds"] > 0
    assert found["auroc_by_test_epoch"] >= found["auroc"] and found["test_epoch"] in (1, 2)
    assert 0 <= found["auroc_by_batch_statistics"] <= 1
    assert rendering.render_audit([found]).count("\n") == 2


def test_the_committed_study_is_on_its_page():
    page = (ROOT / "docs/pages/recipes.md").read_text()
    lines = tables.read_lines(tables.RESULTS / "study/study.jsonl")
    assert pages.split_at_marks(page, "study")[1] == rendering.render_study(lines) + "\n"


def test_a_study_compares_the_same_seeds():
    lines = [
        {"change": change, "dataset": dataset, "normal": normal, "seed": seed, "auroc": auroc}
        for dataset, normal in tables.TASKS
        for i, seed in enumerate(tables.TUNING_SEEDS)
        for change in tables.CHANGES
        for auroc in [0.9 + i / 100 + (change == "no phase 2") * (0.01 + i / 100)]
    ]
    rows = rendering.render_study(lines).splitlines()[2:]
    assert rows[0] == "| the recipe | .910 |  | .910 |  |"
    assert rows[1].startswith("| no phase 2 | .930 | +0.020 ± 0.008 |")
    assert len(rows) == len(tables.CHANGES)
    assert set(tables.WORDING) < set(tables.CHANGES)
    assert rows[-2].startswith("| one view per image and step | .910 |")


@pytest.mark.slow
def test_a_run_of_the_study(run_command, tmp_path):
    """On a made set in MNIST's place, for study.py itself knows only large ones."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (120, 8, 8), dtype=np.uint8), np.arange(120) % 2 + 8
    task = tmp_path / "task.npz"
    np.savez(task, x_train=x, y_train=y, x_test=x, y_test=y)
    script = f"""
import sys
from absl import flags
from benchmarks import study
flags.FLAGS(sys.argv[:1])
study.EPOCHS = 1
print(study.measure({str(task)!r}, 8, 100, "one view of an image a step"))
"""
    assert 0 <= float(run_command("-c", script).stdout.split()[-1]) <= 1


def test_what_is_held_out_of_a_small_set():
    assert [held_out.count_held_out("half", n) for n in (10, 46, 100, 500)] == [5, 23, 32, 50]
    assert [held_out.count_held_out("fifth", n) for n in (3, 10, 46)] == [1, 4, 9]
    images = np.arange(11)
    parts = list(held_out.split_folds(images))
    assert sorted(np.concatenate([fifth for _, fifth in parts])) == list(images)
    for others, fifth in parts:
        assert sorted([*others, *fifth]) == list(images) and len(fifth) in (2, 3)


@pytest.mark.slow
def test_rules_of_holding_out_are_compared(run_command, tmp_path):
    write_folder(tmp_path / "sets/parts", "mvtec", n=9, size=16)
    results = tmp_path / "held_out.jsonl"
    flags = ("--sizes=10", "--seeds=1", "--recipe=default", "--epochs=1", f"--results={results}")
    for _ in range(2):
        run_command("-m", "benchmarks.held_out", *flags, f"--data_dir={tmp_path / 'sets'}")
    found = tables.read_lines(results)  # the second time all are there already
    assert [line["rule"] for line in found] == list(tables.HELD_OUT_RULES)
    for line in found:
        assert 0 <= line["false_alarms"] <= 1 and 0 <= line["auroc"] <= 1
        assert line["n_new"] == 8 and line["keras_version"]
