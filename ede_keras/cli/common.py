"""What the commands share: plain errors, the scoring of a set, the table at the end."""

import sys
import time
import warnings

import keras
import tensorflow as tf
from absl import app, flags

from ede_keras.data.folders import LAYOUTS
from ede_keras.errors import InputError
from ede_keras.evaluation import masks
from ede_keras.evaluation.metrics import compute_metrics
from ede_keras.models import diagnosis
from ede_keras.serving.client import join_batches
from ede_keras.utils.files import write_csv, write_json

FLAGS = flags.FLAGS
QUIET = -2  # of absl's --verbosity, and below
SCORING_BATCH_SIZE = 256
# Metrics and their names in the table; those of pixels where there are masks.
SHOWN = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "f1": "F1 at the threshold",
    "pixel_auroc": "pixel AUROC",
    "pixel_aupro": "pixel AUPRO",
}


def run(main, others=False):
    """Runs a command's `main(argv)`; an input's fault is one line on stderr and exit code 1.

    `--help` shows the flags and the docstring of the module that `main` is from.

    So is one of TensorFlow's, such as a lack of memory. Flags that are not the command's own are
    refused, or, if `others`, left in `argv`.
    """
    module = sys.modules[main.__module__]
    sys.modules["__main__"].__doc__ = module.__doc__
    for flag in FLAGS.get_key_flags_for_module(module.__name__):
        FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    warnings.showwarning = _show_warning
    tf.get_logger().setLevel("ERROR")  # else hints for programmers, such as how often it traces

    def guarded(argv):
        if len(argv) > 1 and not others:
            raise app.UsageError(f"Expected flags only (--name=value). Received: {argv[1]!r}")
        try:
            main(argv)
        except (InputError, OSError, tf.errors.OpError) as error:
            sys.exit(f"Error: {error}")

    app.run(guarded, flags_parser=_parse_own if others else app.parse_flags_with_usage)


def _parse_own(argv):
    try:
        return FLAGS(argv, known_only=True)
    except flags.Error as error:
        sys.exit(f"Error: {error}")


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"Warning: {message}", file=sys.stderr)


def bars():
    """`verbose` for what may take long: 1 shows how far it is; not in a file, and not if quiet."""
    return int(sys.stdout.isatty() and FLAGS.verbosity > QUIET)


def set_determinism(seed, deterministic):
    """Seeds every generator; if `deterministic`, the same run gives the same bits on a CPU."""
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


def tell_layout(dataset):
    """Says how a folder is read, in a line."""
    if dataset.is_folder:
        print(
            f"{dataset.name} is read as layout {dataset.layout!r}: {LAYOUTS[dataset.layout]}; "
            "--layout names another."
        )


def write_damaged(path, dataset):
    """Lists the damaged files of a folder, if there are any."""
    if dataset.damaged:
        write_csv(path, {"path": dataset.damaged})


def score_set(model, images):
    """Scores images as `predict` does; timed without the first batch, which compiles the graph.

    Returns:
        `(scores, labels, images_per_second)`.
    """
    first = model.count_at_once(SCORING_BATCH_SIZE)
    model.compute_terms(images[:first], SCORING_BATCH_SIZE)
    began = time.perf_counter()
    terms = model.compute_terms(images, SCORING_BATCH_SIZE, bars())
    scores, labels = model.combine_terms(terms)
    seconds = time.perf_counter() - began
    return scores, labels, round(len(images) / seconds, 1)


def score_maps(model, images, true_labels, files, folder):
    """How well the anomaly maps of a scored folder find what its masks show.

    Args:
        model: The detector.
        images, true_labels: The scored set; labels None if nothing is known.
        files: Their paths in the folder, or positions in a set that is none.
        folder: Root of the folder's layout.

    Returns:
        What `masks.compare_maps` finds; an empty dict without masks.
    """
    if true_labels is None or not has_paths(files):
        return {}
    found = masks.load_masks(folder, files, true_labels)
    if found is None:
        return {}
    drawn, known = found
    scored = model.predict(images[known], verbose=bars())
    return masks.compare_maps(scored["anomaly_map"], drawn)


def has_paths(ids):
    """Whether images are known by their files, not by their positions."""
    return ids.dtype.kind in "UO"


def score_by_server(client, files):
    """Lets a server score image files, with a bar of how far it is; returns as `score_set`, and
    the server's threshold."""
    progress = keras.utils.Progbar(len(files), verbose=bars(), unit_name="image")
    began = time.perf_counter()
    batches = []
    for batch in client.score_batches(files):
        batches.append(batch)
        progress.add(len(batch["score"]))
    seconds = time.perf_counter() - began
    found = join_batches(batches)
    scored = found["score"], found["label"], round(len(files) / seconds, 1)
    return scored, float(found["threshold"][0])


def decision(model):
    """How a model decides, for its metrics."""
    return {name: getattr(model, name) for name in ("threshold", "omega1", "contamination")}


def write_scores(json_path, csv_path, ids, true_labels, scored, facts):
    """Writes the scores of a set and its metrics.

    Args:
        json_path, csv_path: Where to.
        ids: An index or a path per image.
        true_labels: 1 for anomalous, per image; None if nothing is known.
        scored: What `score_set` returned.
        facts: More entries of the metrics, a dict; `threshold` among them.

    Returns:
        The metrics.
    """
    scores, labels, images_per_second = scored
    metrics = compute_metrics(scores, labels, true_labels)
    metrics.update(facts, images_per_second=images_per_second)
    diagnosis.warn_if_inverted(metrics["auroc"])
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
    """Prints what a run came to, and where it lies."""
    rows = {name: metrics[key] for key, name in SHOWN.items() if key in metrics}
    none = {None: "no true labels", 0: "no anomalies known"}
    reason = none.get(metrics["n_anomalous"], "no normal images known")
    print()
    for name, value in rows.items():
        print(f"{name:<22}{reason if value is None else f'{value:.4f}'}")
    print(f"{'threshold':<22}{metrics['threshold']:.6g}")
    print(f"{'scored, images/s':<22}{metrics['images_per_second']:.0f}")
    print(f"{'written to':<22}{where}")
