"""A scored set as one page to look at, and its plots as pictures; needs the extra `.[report]`."""

import base64
import dataclasses
import io
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow as tf

from ede_keras.errors import InputError
from ede_keras.utils.files import atomic_path
from ede_keras.version import __version__

try:
    import jinja2

    from ede_keras.evaluation import plots
except ImportError as error:
    raise InputError(
        f"A report needs matplotlib and jinja2: pip install 'ede-keras[report]'. Received: {error}"
    ) from error

MOST, WORST = 12, 8  # images in a gallery, and in one of mistakes


@dataclasses.dataclass(frozen=True)
class Scored:
    """A set of images and what a model says of them.

    Args:
        images: `(n, height, width, channels)`, 0 to 255.
        ids: Name or position of each image, `(n,)`.
        scores: `(n,)`, higher for more anomalous.
        labels: `(n,)`, 1 where the model calls an image anomalous.
        true_labels: `(n,)`, 1 for anomalous; None if nothing is known.
    """

    images: np.ndarray
    ids: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray | None


def write_report(path, model, scored, metrics, config):
    """Writes `path`, an HTML page that needs no other file, and beside it a PNG of each plot.

    Args:
        path: The page; the plots' names begin with its stem.
        model: A calibrated `EDE` or variant, for reconstructions and anomaly maps.
        scored: A `Scored`.
        metrics: What `compute_metrics` found, the threshold, and more to show, a dict.
        config: The run's config, a dict.
    """
    path = Path(path)
    figures = draw_figures(scored, metrics)
    pictures = {}
    for name, figure in figures.items():
        png = io.BytesIO()
        figure.savefig(png, dpi=120, format="png")
        pictures[name] = png.getvalue()
    page = render(model, scored, metrics, config, pictures)
    for name, png in pictures.items():
        with atomic_path(path.with_name(f"{path.stem}-{name}.png")) as aside:
            aside.write_bytes(png)
    with atomic_path(path) as aside:
        aside.write_text(page, encoding="utf-8")


def draw_figures(scored, metrics):
    """The plots by name; curves only where both kinds of images are known."""
    scores, true_labels = scored.scores, scored.true_labels
    figures = {"scores": plots.draw_histogram(scores, true_labels, metrics["threshold"])}
    if metrics["auroc"] is not None:
        figures["roc"] = plots.draw_roc(scores, true_labels)
        figures["precision_recall"] = plots.draw_precision_recall(scores, true_labels)
    return figures


def render(model, scored, metrics, config, pictures):
    """The page, a string."""
    galleries = choose(scored.scores, scored.labels, scored.true_labels)
    shown = sorted({int(i) for chosen in galleries.values() for i in chosen})
    views = dict(zip(shown, draw_views(model, scored.images[shown]), strict=True))
    low, high = plots.histogram_range(scored.scores)
    data = {
        "scores": np.round(scored.scores.astype("float64"), 6).tolist(),
        "truth": None if scored.true_labels is None else scored.true_labels.tolist(),
        "threshold": metrics["threshold"],
        "low": float(low),
        "high": float(high),
        "axes": plots.HISTOGRAM_AXES,
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True
    )
    return environment.get_template("report.html").render(
        config=config,
        metrics=metrics,
        verdict=tell(metrics, scored.labels),
        counts=count(scored.labels, scored.true_labels),
        galleries=galleries,
        views=views,
        scored=scored,
        pictures={name: _data_uri(png) for name, png in pictures.items()},
        data=json.dumps(data).replace("<", "\\u003c"),
        versions=_versions(),
    )


def tell(metrics, labels):
    """What it came to, in a sentence."""
    called = f"{int(labels.sum())} of {len(labels)} images are called anomalous."
    auroc = metrics["auroc"]
    if auroc is None:
        return f"{called} Nothing says how many are."
    words = ((0.95, "tells normal and anomalous images apart"), (0.8, "tells most apart"))
    known = next((text for least, text in words if auroc >= least), "hardly tells them apart")
    return (
        f"The detector {known}: an anomalous image scores higher than a normal one in "
        f"{100 * auroc:.1f} of 100 pairs. {called}"
    )


def count(labels, true_labels):
    """How many images of each true label (0, 1; None alone if unknown) are called normal and
    anomalous: `{true label: (normal, anomalous)}`."""
    kinds = {None: np.full(len(labels), True)}
    if true_labels is not None:
        kinds = {label: true_labels == label for label in (0, 1)}
    return {
        label: (int((labels[chosen] == 0).sum()), int((labels[chosen] == 1).sum()))
        for label, chosen in kinds.items()
    }


def choose(scores, labels, true_labels):
    """The images to show, positions by the gallery's title; the most telling ones first."""
    order = np.argsort(scores, kind="stable")
    found = {"Most anomalous": order[::-1][:MOST], "Least anomalous": order[:MOST]}
    if true_labels is not None:
        wrong = {
            "False alarms": order[::-1][((true_labels == 0) & (labels == 1))[order[::-1]]],
            "Missed anomalies": order[((true_labels == 1) & (labels == 0))[order]],
        }
        found = {**{title: chosen[:WORST] for title, chosen in wrong.items()}, **found}
    return {title: chosen for title, chosen in found.items() if len(chosen)}


def draw_views(model, images):
    """Of each image the pictures to show, dicts of data URIs by name. All maps of a page have
    one scale of colours."""
    maps = model.predict(images, verbose=0)["anomaly_map"]
    share = maps / max(maps.max(), 1e-12)
    warm = plots.heat(share)
    colour = np.broadcast_to(images, (*images.shape[:3], 3)).astype("float32")
    share = share[..., None]
    views = {
        "image": images,
        "reconstruction": model.reconstruct(images),
        "residual": warm,
        "overlay": colour * (1 - share) + warm * share,
    }
    pixels = {name: np.clip(np.round(view), 0, 255).astype("uint8") for name, view in views.items()}
    return [
        {name: _data_uri(tf.io.encode_png(view[i]).numpy()) for name, view in pixels.items()}
        for i in range(len(images))
    ]


def _data_uri(png):
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _versions():
    packages = ("keras", "tensorflow", "numpy", "scikit-learn")
    own = {"python": platform.python_version(), "ede-keras": __version__}
    return {**own, **{name: version(name) for name in packages}}
