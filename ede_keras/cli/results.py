"""What `ede-evaluate` writes and prints once images are scored."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from ede_keras.cli import common, maps
from ede_keras.cli.command import ANOMALY_FOUND
from ede_keras.cli.verdicts import print_verdicts, sort_by_score
from ede_keras.data.images.decoding import MAX_VALUE
from ede_keras.errors import InputError
from ede_keras.models.detector import AnomalyDetector
from ede_keras.utils.files import StrPath

FLAGS = flags.FLAGS


def make_output_dir(default: StrPath) -> Path:
    """Creates the folder `--output_dir`, or `default`, and returns it; see `make_folder`."""
    return make_folder(FLAGS.output_dir or default, "output_dir")


def make_folder(place: StrPath, flag: str) -> Path:
    """Creates the folder that a flag names, and returns it.

    Raises:
        InputError: The folder is not writable.
    """
    folder = Path(place).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise InputError(
            f"The output folder must be writable; choose another with --{flag}. Received: {folder}"
        )
    return folder


def write_results(
    path: Path,
    ids: np.ndarray,
    true_labels: np.ndarray | None,
    scored: tuple[np.ndarray, np.ndarray, float],
    facts: Mapping[str, Any],
    named: bool,
    model: AnomalyDetector | None = None,
) -> dict[str, Any]:
    """Writes scores and metrics, and prints the metrics and the verdicts.

    Args:
        path: Path of the output files `<path>.json` and `<path>.csv`.
        ids: Path or index of each image.
        true_labels: int32 `(n,)`, 1 for anomalous, 0 for normal. None if unknown.
        scored: Scores, labels and images per second, as in `common.score_set`.
        facts: Further entries of the metrics; `threshold` is one of them.
        named: As in `ImagesToScore`.
        model: The detector, if it is at hand.

    Returns:
        The metrics.
    """
    json_path, csv_path = (path.with_name(path.name + suffix) for suffix in (".json", ".csv"))
    scores, labels, images_per_second = scored
    in_order = ids, true_labels, scores, labels
    rows = sort_by_score(*in_order) if FLAGS.sort else in_order
    metrics = common.write_scores(
        json_path, csv_path, *rows[:2], (*rows[2:], images_per_second), facts, model
    )
    common.print_table(metrics, csv_path)
    print_verdicts(ids, scores, labels, true_labels, facts["threshold"], named)
    return metrics


def end(labels: np.ndarray) -> None:
    """Ends the command as `--fail_on_anomaly` says."""
    if FLAGS.fail_on_anomaly and labels.any():
        sys.exit(ANOMALY_FOUND)


def choose_pictures(max_value: int = MAX_VALUE) -> maps.Pictures | None:
    """Where `--watch` writes pictures: the folder of `--maps`, if there is one."""
    if FLAGS.maps is None:
        return None
    return maps.Pictures(make_folder(FLAGS.maps, "maps"), FLAGS.raw_maps, max_value)


def write_maps(
    ids: np.ndarray,
    sources: Sequence[Any],
    compute: Callable[[int, int], np.ndarray],
    pixel_threshold: float,
    max_value: int = MAX_VALUE,
) -> None:
    """Writes `--maps`.

    Args:
        ids: Path or index of each image, `(n,)`.
        sources: The file of each, or its pixels.
        compute: Gives the anomaly maps of the images from one position to another.
        pixel_threshold: As in `maps.write_maps`.
        max_value: As in `maps.write_maps`.
    """

    def stream() -> Iterator[maps.Mapped]:
        for start in range(0, len(ids), maps.BATCH_SIZE):
            end = min(start + maps.BATCH_SIZE, len(ids))
            found = compute(start, end)
            yield from map(maps.Mapped, ids[start:end], sources[start:end], found)

    folder = make_folder(FLAGS.maps, "maps")
    n = maps.write_maps(folder, stream(), pixel_threshold, FLAGS.raw_maps, max_value)
    print(f"{'maps':<22}{folder}; {n} of {len(ids)} images have an anomalous region")
