"""Functions that the commands share: scoring a set, and printing the results."""

import time

import keras
import tensorflow as tf

from ede_keras.cli import command
from ede_keras.evaluation.drift import Drift
from ede_keras.evaluation.false_alarms import FalseAlarms, expect_false_alarms
from ede_keras.evaluation.masks import compare_maps
from ede_keras.evaluation.metrics import compare_terms, compute_metrics
from ede_keras.evaluation.patches import describe_patches
from ede_keras.layers.anomaly_score import count_above
from ede_keras.models import diagnosis
from ede_keras.utils.files import write_csv, write_json

SCORING_BATCH_SIZE = 256
# Metrics and their names in the table; those of pixels where there are masks.
SHOWN = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "f1": "F1 at the threshold",
    "pixel_auroc": "pixel AUROC",
    "pixel_aupro": "pixel AUPRO",
}


def set_determinism(seed, deterministic):
    """Seeds all random generators; if `deterministic`, a CPU gives the same bits every time."""
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def print_summary(dataset):
    """Prints what was read from a data set."""
    print(*dataset.summary.lines(), sep="\n")


def write_summary(dataset, json_path, csv_path):
    """Writes what was read from a data set, and the files left out if there are any."""
    summary = dataset.summary
    write_json(json_path, summary.to_dict())
    if summary.left_out:
        columns = {"path": summary.left_out.keys(), "reason": summary.left_out.values()}
        write_csv(csv_path, columns)


def score_set(model, images, true_labels, masks=None):
    """Scores images as `predict` does, and measures the score's terms and the anomaly maps.

    Args:
        model: The detector.
        images: `(n, height, width, channels)`.
        true_labels: 1 for anomalous, per image; None if the labels are unknown.
        masks: The return value of `Masks.select`; None if there are none.

    Returns:
        `((scores, labels, images_per_second), more_metrics, parts)`. The time is without the first
        batch, which compiles the graph. The metrics have the return value of `compare_terms` as
        `terms`; `equation8_auroc`, that of Equation (8)'s terms, if there are others beside them;
        and with masks those of `masks.compare_maps`. The parts are those of `weigh_terms`.
    """
    compute = model.compute_terms if masks is None else model.compute_terms_and_maps
    first = model.scale_batch_size(SCORING_BATCH_SIZE)
    compute(images[:first], SCORING_BATCH_SIZE)
    start = time.perf_counter()
    found = compute(images, SCORING_BATCH_SIZE, command.bars())
    terms = found if masks is None else found[0]
    scores, labels = model.combine_terms(terms)
    seconds = time.perf_counter() - start
    scored = scores, labels, round(len(images) / seconds, 1)
    parts = model.weigh_terms(terms)
    more = measure_terms(model, terms, parts, labels, true_labels)
    if masks is not None:
        drawn, known = masks
        more |= {} if drawn.all() else compare_maps(found[1][known], drawn)
        more["n_without_mask"] = int((~known).sum())
    return scored, more, parts


def measure_terms(model, terms, parts, labels, true_labels):
    """The metrics of the terms of a score; see `score_set`."""
    metrics: dict = {"terms": compare_terms(parts, labels, true_labels, terms)}
    own = {name: part for name, part in parts.items() if name in model.equation8_terms}
    if len(own) < len(parts):
        metrics["equation8_auroc"] = compute_metrics(sum(own.values()), labels, true_labels)[
            "auroc"
        ]
    return metrics


def has_paths(ids):
    """Whether images are identified by paths, not by positions."""
    return ids.dtype.kind in "UO"


def decision(model, n_held_out):
    """The settings of a model's decision and what it promises, for its metrics."""
    names = "threshold", "pixel_threshold", "omega1", "contamination"
    n_above = count_above(n_held_out, model.contamination)
    promise = expect_false_alarms(n_held_out, n_above)._asdict()
    own = {name: getattr(model, name) for name in names if hasattr(model, name)}
    return {**own, "false_alarms": promise}


def write_scores(json_path, csv_path, ids, true_labels, scored, facts, model=None):
    """Writes the scores of a set and its metrics.

    Args:
        json_path: File for the metrics.
        csv_path: File for the scores.
        ids: An index or a path per image.
        true_labels: 1 for anomalous, per image; None if the labels are unknown.
        scored: `(scores, labels, images_per_second)`.
        facts: More entries of the metrics, a dict that contains `threshold`.
        model: The detector, if it is at hand; advice is about its arguments.

    Returns:
        The metrics.
    """
    scores, labels, images_per_second = scored
    metrics = compute_metrics(scores, labels, true_labels)
    metrics.update(facts, images_per_second=images_per_second)
    diagnosis.warn_if_inverted(metrics["auroc"], model)
    id_name = "path" if has_paths(ids) else "index"
    unknown = [""] * len(scores)
    write_csv(
        csv_path,
        {
            id_name: ids,
            "true_label": unknown if true_labels is None else true_labels,
            "score": scores,
            "label": labels,
        },
    )
    write_json(json_path, metrics)
    return metrics


def print_table(metrics, where):
    """Prints the metrics of a run and where it is."""
    none = {None: "no true labels", 0: "no anomalies known"}
    reason = none.get(metrics["n_anomalous"], "no normal images known")
    print()
    if metrics["auroc"] is None:
        print(f"{'AUROC':<22}{reason}")
    for key, name in SHOWN.items():
        if metrics.get(key) is not None:
            print(f"{name:<22}{metrics[key]:.4f}")
    print(f"{'threshold':<22}{metrics['threshold']:.6g}")
    if "false_alarms" in metrics:
        print(f"{'false alarms':<22}{FalseAlarms(**metrics['false_alarms'])}")
    if "patches_found" in metrics:
        print(f"{'patches found':<22}{describe_patches(metrics['patches_found'])}")
    if "drift" in metrics:
        print(f"{'drift':<22}{Drift(**metrics['drift'])}")
    print(f"{'scored, images/s':<22}{metrics['images_per_second']:.0f}")
    print(f"{'written to':<22}{where}")
