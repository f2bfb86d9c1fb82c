"""What the tables of the paper are made of, and how they are written down in README."""

import json
from pathlib import Path

import numpy as np

from benchmarks.simple import METHODS
from ede_keras.models.recipes import RECIPES, get_recipe
from ede_keras.models.variants import VARIANTS
from ede_keras.utils.files import atomic_path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
RECIPES_AND_METHODS = (*RECIPES, *METHODS)
# Of each table: the sets with their protocol, recipes and variants, and the seeds of a recipe.
THREE, ONE = (0, 1, 2), (0,)
COMPARED = {"default": THREE, "paper": ONE, **dict.fromkeys(METHODS, ONE)}
TABLES = {
    "1": {
        "sets": (("digits", "split80"), ("mnist", "split80"), ("fmnist", "split80")),
        "seeds": COMPARED,
        "variants": ("full",),
    },
    "2": {"sets": (("mnist", "official"),), "seeds": COMPARED, "variants": ("full",)},
    "3": {
        "sets": (("cifar10", "official"),),
        "seeds": {name: ONE for name in COMPARED if name != "paper"},
        "variants": ("full",),
    },
    "5": {
        "sets": (("mnist", "official"),),
        "seeds": {"default": ONE, "default_no_pretext": ONE},
        "variants": tuple(VARIANTS),
    },
}
CLASSES = tuple(range(10))
# Of the study: changes of the default recipe, as flags of train.py, the classes of the training
# parts that they are tried on, and seeds that no table has.
CHANGES = {
    "the recipe": (),
    "no phase 2": ("--phase_floor=1",),
    "phase 2 weighs up to 0.5, not 0.2": ("--phase_floor=0.5",),
    "phase 2 moves EDE2's encoders too": ("--phase2_updates=ede2",),
    "phase 2 moves all encoders": ("--phase2_updates=all",),
    "z gets the gradient of its own term": ("--nofixed_latent_target",),
    "no pretext": ("--pretext=none",),
    "rotations alone": ("--pretext=rotations",),
    "one view of an image a step": ("--pretext_views=1",),
    "cosine decay": ("--cosine_decay",),
}
TASKS = (("mnist", 8), ("fmnist", 6))
TUNING_SEEDS = (100, 101, 102)
KEY = ("dataset", "protocol", "normal", "seed", "recipe", "variant")
GROUP = ("dataset", "protocol", "recipe", "variant")


def read_lines(path):
    """The runs that a results file holds, a list of dicts."""
    path = Path(path)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def find_line(path, run):
    """The line of a run, known by some of its facts, or None."""
    return next((line for line in read_lines(path) if run.items() <= line.items()), None)


def append_line(path, line):
    """Adds a run to a results file, which is made if it is not there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")


def read_results(folder=RESULTS):
    """The runs of all results files of a folder; audits are in a folder of their own."""
    return [line for path in sorted(Path(folder).glob("*.jsonl")) for line in read_lines(path)]


def is_current(line, epochs=None):
    """Whether the recipe of a detector's run, with these epochs, is still what it was then."""
    model_arguments, training = get_recipe(line["recipe"], line["image_shape"])
    expected = {**model_arguments, **training}
    if epochs:
        expected["epochs"] = epochs
    if "memory_size" in expected:
        expected["memory_size"] = min(expected["memory_size"], line["n_train"])
    # None is the model's own choice; an argument that an older line does not know was off.
    return all(
        line.get(name, False) == value for name, value in expected.items() if value is not None
    )


def in_table(line, table):
    """Whether a run belongs to a table."""
    table = TABLES[table]
    return (
        (line["dataset"], line["protocol"]) in table["sets"]
        and line["seed"] in table["seeds"].get(line["recipe"], ())
        and line["variant"] in table["variants"]
    )


def describe(table):
    """What a table is made of, in a line."""
    table = TABLES[table]
    parts = {
        "datasets": [dataset for dataset, _ in table["sets"]],
        "classes": map(str, CLASSES),
        "recipes": table["seeds"],
        "variants": table["variants"],
    }
    return "; ".join(f"{name} {', '.join(values)}" for name, values in parts.items())


def group_runs(lines):
    """AUROC by group (`GROUP`), class and seed: `{group: {normal: {seed: auroc}}}`."""
    groups = {}
    for line in lines:
        group = groups.setdefault(tuple(line[name] for name in GROUP), {})
        group.setdefault(line["normal"], {})[line["seed"]] = line["auroc"]
    return groups


def mean_over_classes(classes):
    """`(mean, deviation)` of the classes' mean over seeds that all classes have; the deviation is
    None for one seed."""
    seeds = set.intersection(*(set(runs) for runs in classes.values()))
    means = [np.mean([runs[seed] for runs in classes.values()]) for seed in sorted(seeds)]
    if not means:
        return None, None
    return np.mean(means), np.std(means) if len(means) > 1 else None


def render_table(lines, table):
    """A table in Markdown: a row per recipe, a column per class; what is not measured is blank."""
    rows = [
        f"| data | recipe | mean | {' | '.join(str(c) for c in CLASSES)} |",
        f"| --- | --- | --- |{' --- |' * len(CLASSES)}",
    ]
    groups = group_runs(line for line in lines if in_table(line, table))
    order = {name: i for i, name in enumerate((*COMPARED, "default_no_pretext", *VARIANTS))}
    for group in sorted(groups, key=lambda g: (g[:2], order[g[2]], order[g[3]])):
        dataset, protocol, recipe, variant = group
        classes = groups[group]
        cells = [
            _spell(
                np.mean(list(runs.values())), np.std(list(runs.values())) if len(runs) > 1 else None
            )
            if (runs := classes.get(c))
            else ""
            for c in CLASSES
        ]
        mean = _spell(*mean_over_classes(classes)) if len(classes) == len(CLASSES) else ""
        named = recipe if len(TABLES[table]["variants"]) == 1 else f"{variant}, {recipe}"
        rows.append(f"| {dataset}, {protocol} | {named} | {mean} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _spell(mean, deviation):
    if mean is None:
        return ""
    number = f"{mean:.3f}".removeprefix("0")
    return number if deviation is None else f"{number} ± {deviation:.3f}".replace("± 0.", "± .")


def render_audit(lines):
    """What two mistakes would add, in Markdown; a warning, not a result."""
    rows = [
        "| data | class | as measured | batch statistics, sorted batches | epoch by test set |",
        "| --- | --- | --- | --- | --- |",
    ]
    for line in lines:
        names = ("auroc", "auroc_by_batch_statistics", "auroc_by_test_epoch")
        cells = [f"{line['dataset']}, {line['protocol']}, {line['recipe']}", str(line["normal"])]
        rows.append(f"| {' | '.join(cells + [_spell(line[name], None) for name in names])} |")
    return "\n".join(rows)


def render_study(lines):
    """The study in Markdown: mean over seeds and deviation, and how much above the recipe."""
    found = {}
    for line in lines:
        runs = found.setdefault((line["change"], line["dataset"], line["normal"]), {})
        runs[line["seed"]] = line["auroc"]
    heads = [f"{dataset} {normal} | against the recipe" for dataset, normal in TASKS]
    rows = [f"| {' | '.join(['change', *heads])} |", f"| --- |{' --- |' * 2 * len(TASKS)}"]
    for change in CHANGES:
        cells = [change]
        for task in TASKS:
            runs, recipe = found[change, *task], found["the recipe", *task]
            gains = [runs[seed] - recipe[seed] for seed in TUNING_SEEDS]
            cells.append(_spell(np.mean(list(runs.values())), None))
            cells.append(f"{np.mean(gains):+.3f} ± {np.std(gains):.3f}" if any(gains) else "")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def render_all(folder=RESULTS):
    """The Markdown of every part of README that is made of results, by its name."""
    lines = read_results(folder)
    parts = {f"table {table}": render_table(lines, table) for table in TABLES}
    audits = [
        line for path in sorted(Path(folder, "audit").glob("*.jsonl")) for line in read_lines(path)
    ]
    return {**parts, "audit": render_audit(audits)}


def split_at_marks(text, name):
    """README before, between and after the marks of a part."""
    before, rest = text.split(f"<!-- {name} -->\n")
    between, after = rest.split(f"<!-- end of {name} -->")
    return before, between, after


def write_parts(page, parts):
    """Replaces what stands between the marks of each part, Markdown by name, in a page."""
    text = page.read_text()
    for name, part in parts.items():
        before, _, after = split_at_marks(text, name)
        text = f"{before}<!-- {name} -->\n{part}\n<!-- end of {name} -->{after}"
    with atomic_path(page) as path:
        path.write_text(text)


def write_report(folder=RESULTS, readme=ROOT / "README.md"):
    """All tables and the audit into README."""
    write_parts(readme, render_all(folder))
