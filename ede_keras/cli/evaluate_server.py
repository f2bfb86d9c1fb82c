"""The part of `ede-evaluate` that scores files with the model of a server."""

from pathlib import Path

import numpy as np
from absl import flags

from ede_keras.cli import command, common, results, server_scoring, watch
from ede_keras.cli.images_to_score import NAMED, print_unlabelled
from ede_keras.data.datasets import list_folder
from ede_keras.data.folder_images import leave_out
from ede_keras.data.protocols import whole_set
from ede_keras.data.subfolders import NORMAL_NAMES, is_normal_name
from ede_keras.errors import InputError
from ede_keras.serving.client import ScoringClient

FLAGS = flags.FLAGS


def evaluate_server() -> None:
    """Scores the image files of `--dataset` with the model of `--server`."""
    if FLAGS.watch:
        output_dir, pictures = results.make_output_dir("."), results.choose_pictures()
        watch.watch_by_server(
            Path(FLAGS.watch), output_dir, FLAGS.server, FLAGS.model_name, pictures
        )
        return
    if FLAGS.dataset is None:
        raise InputError(
            "--server needs an existing folder of images, a list or an image file; pass it as "
            "--dataset=FOLDER. Received: no --dataset"
        )
    run_flags = ("data_dir", "omega1", "contamination", "report")
    command.refuse_flags(run_flags, "works only with --run_dir; leave it out with --server")
    dataset = list_folder(FLAGS.dataset, FLAGS.layout, FLAGS.normal)
    names = dataset.class_names.values()
    normal_name = FLAGS.normal or next((name for name in names if is_normal_name(name)), "")
    files, true_labels, ids = whole_set(dataset, normal_name, normal_name)
    named = dataset.layout in NAMED
    if true_labels is None and not named:
        print_unlabelled(dataset.name, " or ".join(NORMAL_NAMES))
    output_dir = results.make_output_dir(".")
    if FLAGS.strict:  # before the first request, although every file is then read twice
        problems = server_scoring.find_problems(list(files))
        leave_out(dataset, {str(ids[i]): reason for i, reason in problems.items()}, strict=True)
    with ScoringClient(FLAGS.server, FLAGS.model_name) as client:
        scored, threshold, problems = server_scoring.score_by_server(client, list(files))
        if FLAGS.maps:
            accepted = [i for i in range(len(ids)) if i not in problems]
            _write_maps(client, ids[accepted], files[accepted])
    dataset = leave_out(
        dataset, {str(ids[i]): reason for i, reason in problems.items()}, FLAGS.strict
    )
    common.print_summary(dataset)
    read = np.array([i not in problems for i in range(len(ids))])
    true_labels = None if true_labels is None else true_labels[read]
    path = output_dir / f"evaluation-{dataset.name}"
    outputs = [path.with_name(f"{path.name}-{name}") for name in ("data.json", "left_out.csv")]
    common.write_summary(dataset, *outputs)
    results.write_results(path, ids[read], true_labels, scored, {"threshold": threshold}, named)
    results.end(scored[1])


def _write_maps(client: ScoringClient, ids: np.ndarray, files: np.ndarray) -> None:
    """Writes `--maps` of files that a server has accepted."""
    first = client.compute_maps(list(files[:1]))

    def compute(start: int, end: int) -> np.ndarray:
        return client.compute_maps(list(files[start:end]))["anomaly_map"]

    results.write_maps(ids, list(files), compute, float(first["pixel_threshold"][0]))
