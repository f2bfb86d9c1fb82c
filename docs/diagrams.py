"""Draws the pictures of docs/pages/method.md.

  python docs/diagrams.py

Needs the extra `.[plots]`. Writes to `docs/pages/`, or to the folder given as argument.
"""

import sys
from pathlib import Path

import keras
import matplotlib
import numpy as np
from sklearn.datasets import load_sample_image

from ede_keras.layers.transformations import TRANSFORMATIONS
from ede_keras.models import schedules

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Each network keeps its colour everywhere, which shows the networks that are shared.
NETWORKS = {"E1": "#3b6ea8", "D1": "#c8553d", "D2": "#d9a441", "E2": "#4f8a5b"}
STEP, BOX = 1.6, 0.6


def draw_networks():
    """Draws the data flow: EDE1 at the top, EDE2 below it, followed by phase 2."""
    figure, axis = plt.subplots(figsize=(9, 2.6), layout="constrained")

    def chain(start, row, parts):
        """Draws values and networks from left to right; returns the position of each value."""
        places, here = {}, start
        for i, name in enumerate(parts):
            there = (start[0] + (i + 1) * STEP / 2, row)
            axis.annotate(
                "", there, here, arrowprops={"arrowstyle": "-", "color": "grey"}, zorder=0
            )
            if name in NETWORKS:
                corner = (there[0] - BOX / 2, there[1] - 0.22)
                axis.add_patch(plt.Rectangle(corner, BOX, 0.44, color=NETWORKS[name]))
                axis.text(*there, name, color="white", ha="center", va="center", weight="bold")
            else:
                axis.text(*there, name, ha="center", va="center", backgroundcolor="white")
                places[name] = there
            here = there
        return places

    axis.text(0, 0, "x", ha="center", va="center", backgroundcolor="white")
    z = chain((0, 0), 0, ["E1", "z"])["z"]
    chain(z, 0.8, ["D1", "x1", "E2", "z1"])
    z2 = chain(z, -0.8, ["D2", "x2", "E2", "z2"])["z2"]
    chain(z2, -0.8, ["D1", "x2'", "E2", "z2'"])
    for row, text in ((0.8, "EDE1"), (-0.8, "EDE2")):
        axis.text(0, row, text, ha="center", va="center", color="grey")
    middle = z2[0] + STEP
    axis.text(
        middle, -0.3, "phase 2: the output of EDE2 passes through EDE1", ha="center", color="grey"
    )
    axis.set(xlim=(-0.5, z2[0] + 2 * STEP + 0.5), ylim=(-1.2, 1.2))
    axis.set_axis_off()
    return figure


def draw_schedules():
    """Plots the weights of the two phases by epoch."""
    epochs = np.arange(1, 11)
    printed = np.asarray(schedules.inverse_epoch(epochs))
    floored = np.asarray(schedules.floored_inverse_epoch(epochs, 0.8))
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.4), layout="constrained", sharey=True)
    for axis, weights, title in zip(
        axes, (printed, floored), ("as printed: w = 1/n", "default: w = max(1/n, 0.8)"), strict=True
    ):
        axis.step(epochs, weights, where="mid", color=NETWORKS["E1"], label="w, reconstruction")
        axis.step(epochs, 1 - weights, where="mid", color=NETWORKS["D1"], label="1 − w, phase 2")
        axis.set(title=title, xlabel="epoch n", ylim=(-0.05, 1.05))
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].legend(frameon=False, loc="center right")
    return figure


def draw_views(size=48):
    """Draws the views of a photograph: a column per shift or colour change, a row per rotation."""
    photograph = load_sample_image("china.jpg")[60:400, 150:490]
    image = np.asarray(keras.ops.image.resize(photograph, (size, size), antialias=True))
    views = TRANSFORMATIONS["rotations_shifts_and_colours"](np.clip(image, 0, 255) / 255)
    figure, axes = plt.subplots(4, 6, figsize=(5, 3.4), layout="constrained")
    for axis, view in zip(axes.T.ravel(), views, strict=True):
        axis.imshow(view)
        axis.set_axis_off()
    names = ("original", "shifted right", "shifted left", "shifted up", "swapped", "one channel")
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(name, fontsize=8)
    return figure


DRAWINGS = {"networks": draw_networks, "schedules": draw_schedules, "views": draw_views}

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pages"
    for name, draw in DRAWINGS.items():
        draw().savefig(folder / f"method-{name}.png", dpi=100)
