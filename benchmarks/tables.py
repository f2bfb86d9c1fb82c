"""Defines the tables of results, and reads and groups the results."""

import json
from pathlib import Path

import numpy as np

from benchmarks.simple import METHODS
from ede_keras.models.arguments import ADDED_LATER
from ede_keras.models.recipes import RECIPES, get_recipe
from ede_keras.models.variants import VARIANTS
from ede_keras.rivals import RIVALS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
# Other methods with networks, by train.py --method. The simple ones are those of `METHODS`.
RIVAL_NETWORKS = tuple(name for name, rival in RIVALS.items() if rival.has_epochs)
RECIPES_AND_METHODS = (*RECIPES, *RIVAL_NETWORKS, *METHODS)
# For each table: data sets with their protocol, the seeds of each recipe, and the variants.
THREE, ONE = (0, 1, 2), (0,)
COMPARED = {
    "default": THREE,
    "features": THREE,
    "paper": ONE,
    **dict.fromkeys((*RIVAL_NETWORKS, *METHODS), ONE),
}
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
    """Whether the recipe of a detector's run is unchanged since then, apart from `epochs`.

    Of another method only its training is compared.
    """
    if line["recipe"] in RIVAL_NETWORKS:
        training = RIVALS[line["recipe"]].training
        training = training._replace(epochs=epochs or training.epochs)
        return training._asdict().items() <= line.items()
    model, training = get_recipe(
        line["recipe"], line["image_shape"], line["n_train"], epochs=epochs
    )
    unused = model.find_unused()
    expected = {name: value for name, value in model.to_dict().items() if name not in unused}
    expected |= training.to_dict()
    # None leaves the choice to the model. An argument missing from an older line was off.
    line = {**dict.fromkeys(expected, False), **ADDED_LATER, **line}
    return all(line[name] == value for name, value in expected.items() if value is not None)


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
