"""Draws the measured tables, the ROC curves of the paper's Figure 5, and how costs grow.

  python -m benchmarks.figures

Needs the extra `.[plots]`; reads `benchmarks/results/`, writes `docs/pages/table<N>.png`,
`docs/pages/roc.png` and the pictures of the page on speed.
"""

import matplotlib
import numpy as np
from absl import app

from benchmarks import tables
from ede_keras.evaluation.plots import ANOMALOUS, NORMAL, UNKNOWN
from ede_keras.utils.files import read_csv, read_json

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SCALES = {
    "batch_size": "images in a batch",
    "image_size": "height and width, pixels",
    "base_width": "width of the networks",
    "pretext_views": "views of an image in a step",
    "n_images": "images in the set",
}
# Parts of the names of operations that a timeline shows in blue: convolutions, products of
# matrices, or all that there is.
SUMS = ("Conv", "MatMul", "any")
PAGES = tables.ROOT / "docs/pages"


def draw_table(lines, table):
    """Bars of the mean over all classes per recipe, a panel per data set.

    Returns None if nothing is whole.
    """
    groups = tables.group_runs(line for line in lines if tables.in_table(line, table))
    panels = {}
    for (dataset, protocol, recipe, variant), classes in groups.items():
        if len(classes) == len(tables.CLASSES):
            name = recipe if len(tables.TABLES[table]["variants"]) == 1 else f"{variant}, {recipe}"
            bars = panels.setdefault(f"{dataset}, {protocol}", {})
            bars[name] = tables.mean_over_classes(classes)
    if not panels:
        return None
    size = (4.5 * len(panels), 0.6 + 0.35 * max(len(bars) for bars in panels.values()))
    figure, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", squeeze=False)
    for axis, (title, bars) in zip(axes[0], panels.items(), strict=True):
        names = sorted(bars, key=lambda name: bars[name][0])
        means = [bars[name][0] for name in names]
        axis.barh(names, means, xerr=[bars[name][1] or 0 for name in names], color=NORMAL)
        for i, mean in enumerate(means):
            axis.text(mean, i, f" {mean:.3f}", va="center", fontsize=8)
        axis.axvline(0.5, color="grey", linewidth=0.8, linestyle="--")  # what chance reaches
        axis.set(title=title, xlim=(0, 1.15), xlabel="AUROC, mean over classes")
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def draw_roc(paths):
    """ROC curves that the runner kept, one per class."""
    figure, axis = plt.subplots(figsize=(4, 4), layout="constrained")
    for path in paths:
        columns = read_csv(path)
        rates = [np.array(columns[name], float) for name in ("fpr", "tpr")]
        area = np.trapezoid(rates[1], rates[0])
        axis.plot(*rates, label=f"{path.stem.replace('-', ' ')}: {area:.2f}")
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    axis.set(xlabel="normal images called anomalous", ylabel="anomalies found", aspect="equal")
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def draw_scaling(found):
    """A panel per axis: images per second, and the peak of memory."""
    size = (3.2 * len(found), 5)
    figure, axes = plt.subplots(
        2, len(found), figsize=size, layout="constrained", squeeze=False, sharex="col"
    )
    for (name, points), (above, below) in zip(found.items(), axes.T, strict=True):
        values = [int(value) for value in points]
        for what, colour in (("train", ANOMALOUS), ("score", NORMAL)):
            rates = {int(value): point[what] for value, point in points.items() if what in point}
            above.loglog(list(rates), list(rates.values()), "o-", color=colour, label=what)
        peaks = [point["peak_mib"] for point in points.values()]
        below.semilogx(values, peaks, "o-", color=UNKNOWN)
        below.set(
            xlabel=SCALES[name], ylim=(0, 1.1 * max(peaks)), xticks=values, xticklabels=values
        )
        below.minorticks_off()
    axes[0, 0].set(ylabel="images/s")
    axes[0, 0].legend(frameon=False)
    axes[1, 0].set(ylabel="peak of memory, MiB")
    return figure


def draw_timelines(records):
    """What ran when, a row per record, and in a frame how long it took."""
    figure, axis = plt.subplots(figsize=(9, 0.9 + 0.8 * len(records)), layout="constrained")
    for row, record in enumerate(records.values()):
        for sums, colour in ((True, NORMAL), (False, ANOMALOUS)):
            spans = [
                (start, duration)
                for name, start, duration in record["events"]
                if any(part in name for part in SUMS) == sums
            ]
            axis.broken_barh(spans, (-row - 0.35, 0.7), color=colour, linewidth=0)
        axis.text(record["elapsed"], -row, f" {record['elapsed']:.0f} ms", va="center")
        axis.broken_barh(
            [(0, record["elapsed"])], (-row - 0.35, 0.7), facecolor="none", edgecolor="grey"
        )
    axis.set(yticks=[-row for row in range(len(records))], yticklabels=records, xlabel="ms")
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def main(argv):
    del argv
    lines = tables.read_results()
    for table in tables.TABLES:
        if figure := draw_table(lines, table):
            figure.savefig(PAGES / f"table{table}.png", dpi=110)
    if curves := sorted((tables.RESULTS / "roc").glob("*.csv")):
        draw_roc(curves).savefig(PAGES / "roc.png", dpi=110)
    for work in ("score", "train", "fit"):
        paths = {
            when: tables.RESULTS / f"timeline-{work}-{when}.json" for when in ("before", "after")
        }
        if records := {when: read_json(path) for when, path in paths.items() if path.exists()}:
            draw_timelines(records).savefig(PAGES / f"timeline-{work}.png", dpi=90)
    if (scaling := tables.RESULTS / "scaling.json").exists():
        draw_scaling(read_json(scaling)["found"]).savefig(PAGES / "scaling.png", dpi=90)


if __name__ == "__main__":
    app.run(main)
