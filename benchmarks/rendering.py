"""Renders the tables of results in Markdown."""

import numpy as np

from benchmarks import tables
from benchmarks.simple import METHODS
from ede_keras.models.variants import VARIANTS


def render_table(lines, table):
    """Renders a table in Markdown: a row per recipe, a column per class, blank if not measured."""
    rows = [
        f"| data | recipe | mean | {' | '.join(str(c) for c in tables.CLASSES)} |",
        f"| --- | --- | --- |{' --- |' * len(tables.CLASSES)}",
    ]
    own = [line for line in lines if tables.in_table(line, table)]
    groups = tables.group_runs([*own, *_by_equation8(own)])
    names = (*tables.COMPARED, "default_no_pretext")
    names = [name for recipe in names for name in (recipe, tables.EARLIER + recipe)]
    order = {name: i for i, name in enumerate((*names, *VARIANTS))}
    # The row of Equation (8) alone follows its recipe's.
    for group in sorted(
        groups, key=lambda g: (g[:2], order[g[2].split(",")[0]], g[2], order[g[3]])
    ):
        dataset, protocol, recipe, variant = group
        classes = groups[group]
        cells = [
            spell(
                np.mean(list(runs.values())), np.std(list(runs.values())) if len(runs) > 1 else None
            )
            if (runs := classes.get(c))
            else ""
            for c in tables.CLASSES
        ]
        mean = (
            spell(*tables.mean_over_classes(classes)) if len(classes) == len(tables.CLASSES) else ""
        )
        named = recipe if len(tables.TABLES[table]["variants"]) == 1 else f"{variant}, {recipe}"
        rows.append(f"| {dataset}, {protocol} | {named} | {mean} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _by_equation8(lines):
    """The runs of the recipe with a memory as they would be without it."""
    return [
        {**line, "recipe": tables.EQUATION8_ROW, "auroc": line["equation8_auroc"]}
        for line in lines
        if line["recipe"] == tables.EQUATION8
    ]


def spell(mean, deviation=None):
    """A mean of three decimals without the zero before the point, with its deviation if any."""
    if mean is None:
        return ""
    number = f"{mean:.3f}".removeprefix("0")
    return number if deviation is None else f"{number} ± {deviation:.3f}".replace("± 0.", "± .")


def spell_gain(gains):
    """The mean gain with its sign, and the deviation if there are several."""
    deviation = f" ± {np.std(gains):.3f}" if len(gains) > 1 else ""
    return f"{np.mean(gains):+.3f}{deviation}"


def render_parts(lines):
    """Renders the table of real parts in Markdown: a row per set, recipe and tile."""
    columns = [*tables.PART_METRICS]
    columns += [f"{name}_of_{part}" for name in tables.BASELINES for part in ("vectors", "places")]
    heads = ["set", "recipe", "seeds", *columns, "seconds in all", "ms an image"]
    rows = [[head.replace("_", " ") for head in heads], ["---"] * len(heads)]
    for key in dict.fromkeys((line["set"], line["recipe"], line.get("tile")) for line in lines):
        same = [line for line in lines if (line["set"], line["recipe"], line.get("tile")) == key]
        tiles = f", tiles of {key[2]}" if key[2] else ""
        cells = [key[0], f"{key[1]}{tiles}", str(len(same))]
        for name in columns:
            values = [line[name] for line in same if line.get(name) is not None]
            mean = np.mean(values) if values else None
            cells.append(spell(mean, np.std(values) if len(values) > 1 else None))
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
    for key in sorted(keys, key=lambda key: (*key[:2], tables.HELD_OUT_RULES.index(key[2]))):
        same = [line for line in lines if (line["set"], line["n"], line["rule"]) == key]
        cells = [str(part) for part in (*key, len(same))]
        for name in ("auroc", "false_alarms", "missed"):
            cells.append(spell(np.mean([line[name] for line in same]), None))
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
        rows.append(f"| {' | '.join(cells + [spell(line[name], None) for name in names])} |")
    return "\n".join(rows)


def render_study(lines):
    """Renders the study in Markdown: AUROC, and the gain over the recipe with the same seed."""
    found = {}
    for line in lines:
        runs = found.setdefault((line["change"], line["dataset"], line["normal"]), {})
        runs[line["seed"]] = line["auroc"]
    heads = [f"{dataset} {normal} | gain over the recipe" for dataset, normal in tables.TASKS]
    rows = [f"| {' | '.join(['change', *heads])} |", f"| --- |{' --- |' * 2 * len(tables.TASKS)}"]
    for change in tables.CHANGES:
        cells = [tables.WORDING.get(change, change)]
        for task in tables.TASKS:
            runs, recipe = found[change, *task], found["the recipe", *task]
            gains = [runs[seed] - recipe[seed] for seed in tables.TUNING_SEEDS]
            cells.append(spell(np.mean(list(runs.values())), None))
            cells.append(spell_gain(gains) if any(gains) else "")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def render_means(lines):
    """Renders the table of means in Markdown: a row per data set and protocol, a column per method.

    Each cell is the mean over all classes, with the deviation over seeds if there are several.
    Blank if a class is missing; results of an earlier form of the recipe are marked. The last
    column picks the simple method with the highest mean.
    """
    heads = ["data, protocol", *tables.MEANS, "best simple method"]
    rows = [f"| {' | '.join(heads)} |", f"| --- |{' --- |' * (len(heads) - 1)}"]
    groups = tables.group_runs(
        line for line in lines if any(tables.in_table(line, table) for table in tables.TABLES)
    )
    for data in dict.fromkeys(data for table in tables.TABLES.values() for data in table["sets"]):
        found = {
            group[2:]: tables.mean_over_classes(classes)
            for group, classes in groups.items()
            if group[:2] == data and len(classes) == len(tables.CLASSES)
        }
        cells = []
        for recipe, variant in tables.MEANS.values():
            earlier = found.get((tables.EARLIER + recipe, variant))
            now = found.get((recipe, variant))
            cells.append(spell(*(now or earlier or (None, None))))
            if earlier and not now:
                cells[-1] += " (earlier)"
        simple = {name: found[name, "full"] for name in METHODS if (name, "full") in found}
        best = max(simple, key=lambda name: simple[name][0], default=None)
        cells.append(f"{spell(*simple[best])}, {best.replace('_', ' ')}" if best else "")
        rows.append(f"| {' | '.join([', '.join(data), *cells])} |")
    return "\n".join(rows)
