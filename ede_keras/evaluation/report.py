"""An HTML page that shows scored images, and its plots. Needs the extra `ede-keras[report]`."""

import base64
import dataclasses
import io
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ede_keras.errors import InputError
from ede_keras.models.detector import AnomalyDetector
from ede_keras.utils.files import StrPath, atomic_path
from ede_keras.version import __version__

try:
    import jinja2
    from matplotlib.figure import Figure

    from ede_keras.evaluation import plots
except ImportError as error:
    raise InputError(
        f"A report needs matplotlib and jinja2: pip install 'ede-keras[report]'. Received: {error}"
    ) from error

GALLERY_SIZE = 12  # maximum number of images in a gallery
MISTAKES_SIZE = 8  # and in a gallery of mistakes


@dataclasses.dataclass(frozen=True)
class ScoredImages:
    """Images with the scores and labels that a model gave them.

    Args:
        images: Array `(n, height, width, channels)` of any numeric dtype, 0 to 255.
        ids: Path or index of each image, `(n,)`.
        scores: float32 `(n,)`, higher means more anomalous.
        labels: int32 `(n,)`, 1 if the score is above the threshold, else 0.
        true_labels: Integers `(n,)`, 1 for anomalous, 0 for normal. None if unknown.
    """

    images: np.ndarray
    ids: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray | None


def write_report(
    path: StrPath,
    model: AnomalyDetector,
    scored: ScoredImages,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """Writes an HTML page that needs no other file, and a PNG file of each plot.

    Args:
        path: The page. The PNG files go into the same folder; their names begin with its stem.
        model: The calibrated model, for reconstructions and anomaly maps.
        scored: The images with their scores.
        metrics: The metrics of `compute_metrics`, the `threshold`, `terms` of `compare_terms`, and
            others to show.
        config: The config of the run, with `dataset` and `normal_name`.
    """
    path = Path(path)
    figures = plot_figures(scored, metrics)
    pictures = {}
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=120, format="png")
        pictures[name] = buffer.getvalue()
    page = render_page(model, scored, metrics, config, pictures)
    for name, png in pictures.items():
        with atomic_path(path.with_name(f"{path.stem}-{name}.png")) as temporary:
            temporary.write_bytes(png)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def plot_figures(scored: ScoredImages, metrics: Mapping[str, Any]) -> dict[str, Figure]:
    """Plots the histogram and, if both classes occur, the curves.

    Args:
        scored: As in `write_report`.
        metrics: As in `write_report`.

    Returns:
        A dict of `scores` and, if they exist, `roc` and `precision_recall`.
    """
    scores, true_labels = scored.scores, scored.true_labels
    figures = {"scores": plots.plot_histogram(scores, true_labels, metrics["threshold"])}
    if true_labels is not None and metrics["auroc"] is not None:
        figures["roc"] = plots.plot_roc(scores, true_labels)
        figures["precision_recall"] = plots.plot_precision_recall(scores, true_labels)
    return figures


def render_page(
    model: AnomalyDetector,
    scored: ScoredImages,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    pictures: Mapping[str, bytes],
) -> str:
    """Renders the HTML page.

    Args:
        model: As in `write_report`.
        scored: As in `write_report`.
        metrics: As in `write_report`.
        config: As in `write_report`.
        pictures: The plots of `plot_figures` as PNG files, by name.

    Returns:
        The page.
    """
    galleries = select_galleries(scored.scores, scored.labels, scored.true_labels)
    shown = sorted({int(i) for chosen in galleries.values() for i in chosen})
    views = dict(zip(shown, render_views(model, scored.images[shown]), strict=True))
    low, high = plots.histogram_range(scored.scores)
    data = {
        "scores": np.round(scored.scores.astype("float64"), 6).tolist(),
        "truth": None if scored.true_labels is None else scored.true_labels.tolist(),
        "threshold": metrics["threshold"],
        "low": low,
        "high": high,
        "axes": plots.HISTOGRAM_AXES,
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True
    )
    return environment.get_template("report.html").render(
        config=config,
        metrics=metrics,
        weights=model.score_weights,
        summary=summarize(metrics, scored.labels),
        counts=count_labels(scored.labels, scored.true_labels),
        galleries=galleries,
        views=views,
        scored=scored,
        pictures={name: _to_data_uri(png) for name, png in pictures.items()},
        data=json.dumps(data).replace("<", "\\u003c"),
        versions=_get_versions(),
    )


def summarize(metrics: Mapping[str, Any], labels: np.ndarray) -> str:
    """Summarizes the result in a few sentences.

    Args:
        metrics: The metrics of `compute_metrics`.
        labels: int32 `(n,)`, 1 for anomalous, as the model labelled the images.

    Returns:
        The text.
    """
    predicted = f"labels {int(labels.sum())} of {len(labels)} images as anomalous."
    auroc = metrics["auroc"]
    if auroc is None:
        return f"The detector {predicted} Metrics need true labels of both classes."
    if auroc >= 0.95:
        quality = "separates normal and anomalous images well"
    elif auroc >= 0.8:
        quality = "separates most normal and anomalous images"
    else:
        quality = "hardly separates normal and anomalous images"
    return (
        f"The detector {quality}: an anomalous image scores higher than a normal one in "
        f"{100 * auroc:.1f} of 100 pairs. It {predicted}"
    )


def count_labels(
    labels: np.ndarray, true_labels: np.ndarray | None
) -> dict[int | None, tuple[int, int]]:
    """Counts the labels that the model gave to the images of each class.

    Args:
        labels: int32 `(n,)`, 1 for anomalous, as the model labelled the images.
        true_labels: Integers `(n,)`, 1 for anomalous. None if unknown.

    Returns:
        A dict from the true label, 0 or 1, to the numbers of images labelled
        `(normal, anomalous)`. If the true labels are unknown, its only key is None, for all
        images.
    """
    classes: dict[int | None, np.ndarray] = {None: np.full(len(labels), True)}
    if true_labels is not None:
        classes = {0: true_labels == 0, 1: true_labels == 1}
    return {
        true_label: (int((labels[chosen] == 0).sum()), int((labels[chosen] == 1).sum()))
        for true_label, chosen in classes.items()
    }


def select_galleries(
    scores: np.ndarray, labels: np.ndarray, true_labels: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Selects the images to show.

    Args:
        scores: float32 `(n,)`.
        labels: int32 `(n,)`, as the model labelled the images.
        true_labels: Integers `(n,)`, 1 for anomalous. None if unknown: then there are no
            galleries of mistakes.

    Returns:
        A dict from the title of each gallery to the indices of its images, the most extreme
        first. Empty galleries are left out.
    """
    ascending = np.argsort(scores, kind="stable")
    descending = ascending[::-1]
    galleries = {}
    if true_labels is not None:
        false_alarm = (true_labels == 0) & (labels == 1)
        missed = (true_labels == 1) & (labels == 0)
        galleries["False alarms"] = descending[false_alarm[descending]][:MISTAKES_SIZE]
        galleries["Missed anomalies"] = ascending[missed[ascending]][:MISTAKES_SIZE]
    galleries["Most anomalous"] = descending[:GALLERY_SIZE]
    galleries["Least anomalous"] = ascending[:GALLERY_SIZE]
    return {title: chosen for title, chosen in galleries.items() if len(chosen)}


def render_views(model: AnomalyDetector, images: np.ndarray) -> list[dict[str, str]]:
    """Renders the pictures that are shown for each image. All anomaly maps share one colour scale.

    Args:
        model: The calibrated model.
        images: Array `(n, height, width, channels)`, 0 to 255.

    Returns:
        A dict of data URIs for each image: `image`, `reconstruction` unless the model sees images
        through a backbone, `residual` (the anomaly map) and `overlay` (the map over the image).
    """
    maps = model.predict(images, verbose=0)["anomaly_map"]
    opacity = np.clip(maps / max(maps.max(), 1e-12), 0, 1)
    heatmap = plots.apply_colormap(opacity)
    colour = np.broadcast_to(images, (*images.shape[:3], 3)).astype("float32")
    opacity = opacity[..., None]
    views = {"image": images}
    if model.graph.reconstruction is not None:
        views["reconstruction"] = model.reconstruct(images)
    views |= {"residual": heatmap, "overlay": colour * (1 - opacity) + heatmap * opacity}
    pixels = {name: np.clip(np.round(view), 0, 255).astype("uint8") for name, view in views.items()}
    return [
        {name: _to_data_uri(tf.io.encode_png(view[i]).numpy()) for name, view in pixels.items()}
        for i in range(len(images))
    ]


def _to_data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _get_versions() -> dict[str, str]:
    packages = ("keras", "tensorflow", "numpy", "scikit-learn")
    own = {"python": platform.python_version(), "ede-keras": __version__}
    return {**own, **{name: version(name) for name in packages}}
