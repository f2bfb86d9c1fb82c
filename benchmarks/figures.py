"""Draws the measured tables, and the ROC curves of the paper's Figure 5.

  python -m benchmarks.figures

Needs the extra `.[plots]`; reads `benchmarks/results/`, writes `docs/table<N>.png` and
`docs/roc.png`.
"""

import matplotlib
import numpy as np
from absl import app

from benchmarks import tables
from ede_keras.files import read_csv
from ede_keras.plots import NORMAL

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

DOCS = tables.ROOT / "docs"


def draw_table(lines, table):
    """Bars of the mean over all classes per recipe, a panel per data set; None if nothing is
    whole."""
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
        axis.set(title=title, xlim=(min(0.5, *means), 1.06), xlabel="AUROC, mean over classes")
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def draw_roc(paths):
    """ROC curves that the runner kept, one per class."""
    figure, axis = plt.subplots(figsize=(4, 4), layout="constrained")
    for path in paths:
        columns = read_csv(path)
        rates = [np.array(columns[name], float) for name in ("fpr", "tpr")]
        area = np.trapezoid(rates[1], rates[0])
        axis.plot(*rates, label=f"{path.stem.replace('-', ' ')}: {area:.3f}")
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    axis.set(xlabel="normal images called anomalous", ylabel="anomalies found", aspect="equal")
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def main(argv):
    del argv
    lines = tables.read_results()
    for table in tables.TABLES:
        if figure := draw_table(lines, table):
            figure.savefig(DOCS / f"table{table}.png", dpi=110)
    if curves := sorted((tables.RESULTS / "roc").glob("*.csv")):
        draw_roc(curves).savefig(DOCS / "roc.png", dpi=110)


if __name__ == "__main__":
    app.run(main)
