"""Renders what `benchmarks.phase2` measured: gains, what carries the score, and the training."""

import matplotlib
import numpy as np

from benchmarks import pages
from benchmarks.rendering import spell, spell_gain
from ede_keras.evaluation.plots import ANOMALOUS, NORMAL

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# The form that the others are compared with, and the distances that the networks offer.
NO_PHASE2 = "none"
DISTANCES = ("x_x1", "x_x2", "x_x2p", "z_z1", "z_z2", "z_z2p")


def collect(lines, base):
    """`{form: {(dataset, normal): {seed: line}}}` of a base, in the order of the lines."""
    found = {}
    for line in lines:
        if line["base"] == base:
            task = line["dataset"], line["normal"]
            found.setdefault(line["form"], {}).setdefault(task, {})[line["seed"]] = line
    return found


def find_gains(runs, without):
    """The gains in AUROC over the runs without a phase 2 that have the same seed."""
    return [runs[seed]["auroc"] - without[seed]["auroc"] for seed in runs if seed in without]


def render_gains(lines, base):
    """A row per form: its AUROC on each task, and the gain over no phase 2."""
    found = collect(lines, base)
    if not found:
        return "Not measured yet."
    tasks = list(dict.fromkeys(task for forms in found.values() for task in forms))
    heads = [f"{dataset} {normal} | gain" for dataset, normal in tasks]
    rows = [f"| {' | '.join(['form', *heads])} |", f"| --- |{' --- |' * 2 * len(tasks)}"]
    for form, by_task in found.items():
        cells = [form]
        for task in tasks:
            runs = by_task.get(task, {})
            gains = find_gains(runs, found.get(NO_PHASE2, {}).get(task, {}))
            cells.append(spell(np.mean([run["auroc"] for run in runs.values()])) if runs else "")
            cells.append(spell_gain(gains) if form != NO_PHASE2 and gains else "")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def render_distances(lines, base, task):
    """A row per form: the AUROC of each distance alone on a task, the mean over seeds."""
    rows = [f"| {' | '.join(['form', *DISTANCES])} |", f"| --- |{' --- |' * len(DISTANCES)}"]
    for form, by_task in collect(lines, base).items():
        cells = [form]
        for name in DISTANCES:
            values = [run[name] for run in by_task.get(task, {}).values() if name in run]
            cells.append(spell(np.mean(values)) if values else "")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def draw_training(lines, base, task):
    """How training went by the form with the highest and the lowest mean AUROC on a task.

    Returns None if fewer than two forms with a contest were measured.
    """
    found = {
        form: [run["by_epoch"] for run in by_task[task].values()]
        for form, by_task in collect(lines, base).items()
        if task in by_task and "x_x2p" in next(iter(by_task[task].values()))
    }
    if len(found) < 2:
        return None
    mean = {form: np.mean([run["auroc"][-1] for run in runs]) for form, runs in found.items()}
    chosen = {"best": max(mean, key=mean.get), "worst": min(mean, key=mean.get)}
    figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
    titles = ("Equation (1)'s image term", "Equation (3)'s image term", "AUROC of x to x2'")
    for axis, name, title in zip(axes, ("x_x1", "x_x2p", "auroc"), titles, strict=True):
        for (place, form), colour in zip(chosen.items(), (NORMAL, ANOMALOUS), strict=True):
            for i, run in enumerate(found[form]):
                label = f"{place}: {form}" if i == 0 else None
                axis.plot(range(1, len(run[name]) + 1), run[name], color=colour, label=label)
        axis.set(title=title, xlabel="epoch")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[:2]:
        axis.set_yscale("log")
    axes[2].legend(frameon=False)
    return figure


def render_all(lines, bases):
    """The tables by name; the distances are those of the first base and task."""
    parts = {f"phase 2, {base}": render_gains(lines, base) for base in bases}
    return parts | {"distances": render_distances(lines, bases[0], find_task(lines))}


def find_task(lines):
    """The first task, `(dataset, normal)`."""
    return lines[0]["dataset"], lines[0]["normal"]


def write(lines, bases, page, picture):
    """Writes the tables between the marks of a page, and the picture."""
    pages.write_parts(page, render_all(lines, bases))
    figure = draw_training(lines, bases[0], find_task(lines))
    if figure:
        figure.savefig(picture, dpi=120)
