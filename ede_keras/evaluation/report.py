"""An HTML page that shows scored images, and its plots. Needs the extra `ede-keras[report]`."""

import io
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ede_keras.errors import InputError
from ede_keras.evaluation import overlays, thumbnails
from ede_keras.evaluation.false_alarms import FalseAlarms
from ede_keras.evaluation.metrics import count_labels
from ede_keras.evaluation.report_rows import (
    ScoredImages,
    name_views,
    read_batches,
    render_rows,
    round_finite,
    select_shown,
    to_base64,
    to_json,
)
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


def write_report(
    path: StrPath,
    model: AnomalyDetector,
    scored: ScoredImages,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """Writes an HTML page that needs no other file, and a PNG file of each plot.

    The page shows every image, at most 5,000 of them (see `select_shown`), and has at most 30 MB:
    the more images, the smaller their pictures.

    Args:
        path: The page. The PNG files go into the same folder; their names begin with its stem.
        model: The calibrated model, for anomaly maps and reconstructions.
        scored: The images with their scores, at least one.
        metrics: The metrics of `compute_metrics`, the `threshold`, `terms` of `compare_terms`,
            `false_alarms` with the fields of `FalseAlarms` if they are known, and others to show.
        config: The config of the run, with `dataset` and `normal_name`.
    """
    path = Path(path)
    pictures = {}
    for name, figure in plot_figures(scored, metrics).items():
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=120, format="png")
        pictures[name] = buffer.getvalue()
    with atomic_path(path) as temporary:
        page = prepare_page(model, scored, metrics, config, pictures)
        # A path may hold bytes that are no text.
        page.dump(str(temporary), encoding="utf-8", errors="replace")
    for name, png in pictures.items():
        with atomic_path(path.with_name(f"{path.stem}-{name}.png")) as temporary:
            temporary.write_bytes(png)


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


def prepare_page(
    model: AnomalyDetector,
    scored: ScoredImages,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    pictures: Mapping[str, bytes],
) -> "jinja2.environment.TemplateStream":
    """Prepares the HTML page. Its images are read, and drawn, while the page is written.

    Args:
        model: As in `write_report`.
        scored: As in `write_report`.
        metrics: As in `write_report`.
        config: As in `write_report`.
        pictures: The plots of `plot_figures` as PNG files, by name.

    Returns:
        The page as a stream of text.
    """
    shown = select_shown(scored)
    maps = (model.compute_maps(images) for _, images in read_batches(scored, shown))
    top = overlays.choose_top(model.pixel_threshold, maps)
    low, high = plots.histogram_range(scored.scores, metrics["threshold"])
    data = {
        "scores": [round_finite(score) for score in scored.scores],  # all digits of a float32
        "labels": scored.labels.tolist(),
        "truth": None if scored.true_labels is None else scored.true_labels.tolist(),
        "threshold": round_finite(metrics["threshold"]),
        "low": low,
        "high": high,
        "axes": plots.HISTOGRAM_AXES,
        "terms": list(scored.parts),
        "views": name_views(model),
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True
    )
    return environment.get_template("report.html").stream(
        config=config,
        metrics=metrics,
        weights=model.score_weights,
        summary=summarize(metrics, scored.labels),
        counts=count_labels(scored.labels, scored.true_labels),
        n_shown=len(shown),
        n=len(scored.scores),
        is_small=2 * max(model.image_shape[:2]) <= thumbnails.ENLARGED,  # pixels stay visible
        has_truth=scored.true_labels is not None,
        has_masks=any(str(scored.ids[i]) in scored.masks for i in shown),
        has_reconstruction="reconstruction" in name_views(model),
        pixel_threshold=round_finite(model.pixel_threshold),
        heat=(overlays.HEAT_BEGINS * top, top),
        colours={
            "heat": [f"rgb{tuple(colour)}" for colour in overlays.HEAT.astype(int).tolist()],
            "contour": f"rgb{overlays.CONTOUR}",
            "mask": f"rgb{overlays.MASK}",
        },
        pictures={name: to_base64(png) for name, png in pictures.items()},
        data=to_json(data),
        rows=render_rows(model, scored, shown, top),
        versions=_get_versions(),
    )


def summarize(metrics: Mapping[str, Any], labels: np.ndarray) -> str:
    """Summarizes the result in a few sentences.

    Args:
        metrics: As in `write_report`.
        labels: int32 `(n,)`, 1 for anomalous, as the model labelled the images.

    Returns:
        The text.
    """
    predicted = f"labels {int(labels.sum())} of {len(labels)} images as anomalous."
    if found := metrics.get("false_alarms"):
        share = FalseAlarms(**found)
        predicted += (
            f" Of further normal images, {share.expected:.1%} are expected to be labelled "
            f"anomalous, and with 95% confidence between {share.low:.1%} and {share.high:.1%}: "
            f"the threshold comes from {share.n_held_out} held-out images."
        )
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


def _get_versions() -> dict[str, str]:
    packages = ("keras", "tensorflow", "numpy", "scikit-learn")
    own = {"python": platform.python_version(), "ede-keras": __version__}
    return {**own, **{name: version(name) for name in packages}}
