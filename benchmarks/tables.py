"""Defines the tables of results, and renders them in Markdown."""

import json
from pathlib import Path

import numpy as np

from benchmarks.simple import METHODS
from ede_keras.models.recipes import RECIPES, get_recipe
from ede_keras.models.variants import VARIANTS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
RECIPES_AND_METHODS = (*RECIPES, *METHODS)
# For each table: data sets with their protocol, the seeds of each recipe, and the variants.
THREE, ONE = (0, 1, 2), (0,)
COMPARED = {"default": THREE, "features": THREE, "paper": ONE, **dict.fromkeys(METHODS, ONE)}
TABLES = {
    "1": {
        "sets": (("digits", "split80"), ("mnist", "split80"), ("fmnist", "split80")),
        "seeds": COMPARED,
        "variants": ("full",),
    },
    "2": {"sets": (("mnist", "official"),), "seeds": COMPARED, "variants": ("full",)},
    "3": {
        "sets": (("cifar10", "official"),),
        "seeds": {
            name: seeds if name == "features" else ONE
            for name, seeds in COMPARED.items()
            if name != "paper"
        },
        "variants": ("full",),
    },
    "5": {
        "sets": (("mnist", "official"),),
        "seeds": {"default": ONE, "default_no_pretext": ONE},
        "variants": tuple(VARIANTS),
    },
}
CLASSES = tuple(range(10))
# Results of a recipe as it was before it changed are kept under its name with this prefix, until
# they are measured again.
EARLIER = "earlier "
# The columns of the table of means, `{heading: (recipe, variant)}`; the best simple method follows.
MEANS = {
    "default": ("default", "full"),
    "features": ("features", "full"),
    "no pretext": ("default_no_pretext", "full"),
    "no pretext, plain autoencoder": ("default_no_pretext", "autoencoder"),
    "paper": ("paper", "full"),
}
# The row of a table that shows, for this recipe, the score without memory.
EQUATION8 = "features"
EQUATION8_ROW = "features, Equation (8) alone"
# The columns of the table of real parts: what a run measures, and baselines on the same features.
PART_METRICS = ("auroc", "equation8_auroc", "map_auroc", "pixel_auroc", "pixel_aupro")
BASELINES = ("pca", "nearest_neighbour")
# Rules of `benchmarks.held_out`.
HELD_OUT_RULES = ("half", "fifth", "folds")
# The study changes one argument of the default recipe at a time, by flags of train.py. It runs on
# these classes of the training parts, with seeds that no table uses.
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
# How the page words those changes whose names in the results are unclear.
WORDING = {
    "phase 2 weighs up to 0.5, not 0.2": "weight of phase 2 up to 0.5 instead of 0.2",
    "phase 2 moves EDE2's encoders too": "phase 2 also updates the encoders of EDE2",
    "phase 2 moves all encoders": "phase 2 updates all encoders",
    "z gets the gradient of its own term": "the gradient of d(z, z_i) also reaches z",
    "rotations alone": "rotations only",
    "one view of an image a step": "one view per image and step",
}
TASKS = (("mnist", 8), ("fmnist", 6))
TUNING_SEEDS = (100, 101, 102)
KEY = ("dataset", "protocol", "normal", "seed", "recipe", "variant")
GROUP = ("dataset", "protocol", "recipe", "variant")


def read_lines(path):
    """Reads the runs of a results file, a list of dicts."""
    path = Path(path)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def find_line(path, run):
    """Returns the first line that contains all items of `run`, or None."""
    return next((line for line in read_lines(path) if run.items() <= line.items()), None)


def append_line(path, line):
    """Appends a run to a results file; creates the file if needed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\n")


def read_results(folder=RESULTS):
    """Reads the runs of all results files in a folder; audits have their own folder."""
    return [line for path in sorted(Path(folder).glob("*.jsonl")) for line in read_lines(path)]


def is_current(line, epochs=None):
    """Whether the recipe of a detector's run is unchanged since then, apart from `epochs`."""
    model, training = get_recipe(
        line["recipe"], line["image_shape"], line["n_train"], epochs=epochs
    )
    unused = model.find_unused()
    expected = {name: value for name, value in model.to_dict().items() if name not in unused}
    expected |= training.to_dict()
    # None leaves the choice to the model. An argument missing from an older line was off.
    return all(
        line.get(name, False) == value for name, value in expected.items() if value is not None
    )


def in_table(line, table):
    """Whether a run belongs to a table."""
    table = TABLES[table]
    return (
        (line["dataset"], line["protocol"]) in table["sets"]
        and line["seed"] in table["seeds"].get(line["recipe"].removeprefix(EARLIER), ())
        and line["variant"] in table["variants"]
    )


def describe(table):
    """Lists the data sets, classes, recipes and variants of a table in one line."""
    table = TABLES[table]
    parts = {
        "datasets": [dataset for dataset, _ in table["sets"]],
        "classes": map(str, CLASSES),
        "recipes": table["seeds"],
        "variants": table["variants"],
    }
    return "; ".join(f"{name} {', '.join(values)}" for name, values in parts.items())


def group_runs(lines):
    """Collects AUROC by group (`GROUP`), class and seed: `{group: {normal: {seed: auroc}}}`."""
    groups = {}
    for line in lines:
        group = groups.setdefault(tuple(line[name] for name in GROUP), {})
        group.setdefault(line["normal"], {})[line["seed"]] = line["auroc"]
    return groups


def mean_over_classes(classes):
    """Averages over classes per seed, then over the seeds that all classes have.

    Returns:
        `(mean, deviation)`; the deviation over seeds is None if there is only one, and both are
        None if there is none.
    """
    seeds = set.intersection(*(set(runs) for runs in classes.values()))
    means = [np.mean([runs[seed] for runs in classes.values()]) for seed in sorted(seeds)]
    if not means:
        return None, None
    return np.mean(means), np.std(means) if len(means) > 1 else None


def render_table(lines, table):
    """Renders a table in Markdown: a row per recipe, a column per class, blank if not measured."""
    rows = [
        f"| data | recipe | mean | {' | '.join(str(c) for c in CLASSES)} |",
        f"| --- | --- | --- |{' --- |' * len(CLASSES)}",
    ]
    own = [line for line in lines if in_table(line, table)]
    groups = group_runs([*own, *_by_equation8(own)])
    names = (*COMPARED, "default_no_pretext")
    names = [name for recipe in names for name in (recipe, EARLIER + recipe)]
    order = {name: i for i, name in enumerate((*names, *VARIANTS))}
    # The row of Equation (8) alone follows its recipe's.
    for group in sorted(
        groups, key=lambda g: (g[:2], order[g[2].split(",")[0]], g[2], order[g[3]])
    ):
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


def _by_equation8(lines):
    """The runs of the recipe with a memory as they would be without it."""
    return [
        {**line, "recipe": EQUATION8_ROW, "auroc": line["equation8_auroc"]}
        for line in lines
        if line["recipe"] == EQUATION8
    ]


def _spell(mean, deviation):
    if mean is None:
        return ""
    number = f"{mean:.3f}".removeprefix("0")
    return number if deviation is None else f"{number} ± {deviation:.3f}".replace("± 0.", "± .")


def render_parts(lines):
    """Renders the table of real parts in Markdown: a row per set, recipe and tile."""
    columns = [*PART_METRICS]
    columns += [f"{name}_of_{part}" for name in BASELINES for part in ("vectors", "places")]
    heads = ["set", "recipe", "seeds", *columns, "seconds in all", "ms an image"]
    rows = [[head.replace("_", " ") for head in heads], ["---"] * len(heads)]
    for key in dict.fromkeys((line["set"], line["recipe"], line.get("tile")) for line in lines):
        same = [line for line in lines if (line["set"], line["recipe"], line.get("tile")) == key]
        tiles = f", tiles of {key[2]}" if key[2] else ""
        cells = [key[0], f"{key[1]}{tiles}", str(len(same))]
        for name in columns:
            values = [line[name] for line in same if line.get(name) is not None]
            mean = np.mean(values) if values else None
            cells.append(_spell(mean, np.std(values) if len(values) > 1 else None))
        for name in ("seconds", "ms_an_image"):
            cells.append(f"{np.mean([line[name] for line in same]):.0f}")
        rows.append(cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def render_held_out(lines):
    """Renders, in Markdown, how rules of holding out do: a row per number of images and rule."""
    rows = [
        "| set | normal images | rule | seeds | AUROC | false alarms | missed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    keys = {(line["set"], line["n"], line["rule"]) for line in lines}
    for key in sorted(keys, key=lambda key: (*key[:2], HELD_OUT_RULES.index(key[2]))):
        same = [line for line in lines if (line["set"], line["n"], line["rule"]) == key]
        cells = [str(part) for part in (*key, len(same))]
        for name in ("auroc", "false_alarms", "missed"):
            cells.append(_spell(np.mean([line[name] for line in same]), None))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def render_audit(lines):
    """Renders, in Markdown, what two common mistakes would add; a warning, not a result."""
    rows = [
        "| data | class | correct | batch statistics of sorted batches | epoch by test set |",
        "| --- | --- | --- | --- | --- |",
    ]
    for line in lines:
        names = ("auroc", "auroc_by_batch_statistics", "auroc_by_test_epoch")
        cells = [f"{line['dataset']}, {line['protocol']}, {line['recipe']}", str(line["normal"])]
        rows.append(f"| {' | '.join(cells + [_spell(line[name], None) for name in names])} |")
    return "\n".join(rows)


def render_study(lines):
    """Renders the study in Markdown: AUROC, and the gain over the recipe with the same seed."""
    found = {}
    for line in lines:
        runs = found.setdefault((line["change"], line["dataset"], line["normal"]), {})
        runs[line["seed"]] = line["auroc"]
    heads = [f"{dataset} {normal} | gain over the recipe" for dataset, normal in TASKS]
    rows = [f"| {' | '.join(['change', *heads])} |", f"| --- |{' --- |' * 2 * len(TASKS)}"]
    for change in CHANGES:
        cells = [WORDING.get(change, change)]
        for task in TASKS:
            runs, recipe = found[change, *task], found["the recipe", *task]
            gains = [runs[seed] - recipe[seed] for seed in TUNING_SEEDS]
            cells.append(_spell(np.mean(list(runs.values())), None))
            cells.append(f"{np.mean(gains):+.3f} ± {np.std(gains):.3f}" if any(gains) else "")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def render_means(lines):
    """Renders the table of means in Markdown: a row per data set and protocol, a column per method.

    Each cell is the mean over all classes, with the deviation over seeds if there are several.
    Blank if a class is missing; results of an earlier form of the recipe are marked. The last
    column picks the simple method with the highest mean.
    """
    heads = ["data, protocol", *MEANS, "best simple method"]
    rows = [f"| {' | '.join(heads)} |", f"| --- |{' --- |' * (len(heads) - 1)}"]
    groups = group_runs(line for line in lines if any(in_table(line, table) for table in TABLES))
    for data in dict.fromkeys(data for table in TABLES.values() for data in table["sets"]):
        found = {
            group[2:]: mean_over_classes(classes)
            for group, classes in groups.items()
            if group[:2] == data and len(classes) == len(CLASSES)
        }
        cells = []
        for recipe, variant in MEANS.values():
            earlier = found.get((EARLIER + recipe, variant))
            now = found.get((recipe, variant))
            cells.append(_spell(*(now or earlier or (None, None))))
            if earlier and not now:
                cells[-1] += " (earlier)"
        simple = {name: found[name, "full"] for name in METHODS if (name, "full") in found}
        best = max(simple, key=lambda name: simple[name][0], default=None)
        cells.append(f"{_spell(*simple[best])}, {best.replace('_', ' ')}" if best else "")
        rows.append(f"| {' | '.join([', '.join(data), *cells])} |")
    return "\n".join(rows)
