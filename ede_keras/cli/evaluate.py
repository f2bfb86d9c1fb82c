"""Scores the test set of a finished run again, or other images.

The model is that of the run, or one that TF Serving serves.

python evaluate.py --run_dir=runs/digits/2/0
python evaluate.py --run_dir=runs/digits/2/0 --contamination=0.01
python evaluate.py --run_dir=runs/parts/good/0 --dataset=path/to/new_images
python evaluate.py --server=localhost:8500 --dataset=path/to/new_images
"""

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from ede_keras.cli import common, evaluate_server, maps, results, watch
from ede_keras.cli.images_to_score import load_images_to_score
from ede_keras.cli.runs import load_run, read_calibration
from ede_keras.cli.verdicts import ANOMALY_FOUND
from ede_keras.data.folders import LAYOUTS
from ede_keras.data.images.decoding import MAX_VALUE
from ede_keras.errors import InputError
from ede_keras.evaluation import drift
from ede_keras.models.detector import AnomalyDetector

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("run_dir", None, "Folder of a finished run of train.py.")
    flags.DEFINE_string(
        "server",
        None,
        "Address of TF Serving, instead of --run_dir: host:port for gRPC, http://host:port for "
        "REST.",
    )
    flags.DEFINE_string("model_name", "ede", "Name of the model on the server, with --server.")
    flags.DEFINE_multi_string(
        "dataset",
        None,
        "Other images to score, labelled or not: a built-in name, or the path of a folder, a list "
        "(.csv) or an .npz file. Or images: a path, a pattern such as 'parts/*.png', or several of "
        "them, each with the flag.",
    )
    flags.DEFINE_string(
        "normal", None, "Name of the normal class of --dataset. Defaults to that of the run."
    )
    flags.DEFINE_bool(
        "all_normal",
        False,
        "Says that all images of --dataset are normal: false alarms are counted, and their scores "
        "are compared with the calibration's.",
    )
    flags.DEFINE_string("data_dir", None, "Folder of a built-in data set, if it has moved.")
    flags.DEFINE_enum(
        "layout", None, LAYOUTS, "Layout of the folder --dataset. Detected by default."
    )
    flags.DEFINE_bool(
        "strict", False, "Reject a folder if any file in it is left out, for whatever reason."
    )
    flags.DEFINE_float("omega1", None, "omega1 of Equation (8). Defaults to the run's value.")
    flags.DEFINE_float(
        "contamination",
        None,
        "Share of held-out normal images that may score above the threshold. Defaults to the "
        "run's value.",
    )
    flags.DEFINE_string(
        "watch",
        None,
        "Folder to watch, instead of --dataset: scores its images and those that arrive, each "
        "once, until Ctrl+C. The same command goes on where it stopped.",
    )
    flags.DEFINE_bool("sort", False, "Writes the most anomalous image first into the CSV file.")
    flags.DEFINE_bool(
        "fail_on_anomaly",
        False,
        f"Ends with exit status {ANOMALY_FOUND} if an image is labelled anomalous.",
    )
    flags.DEFINE_string(
        "maps",
        None,
        "Folder for a picture of each image: where it is anomalous, with a contour. regions.csv "
        "has the boxes. With --watch only of anomalous images, and without regions.csv.",
    )
    flags.DEFINE_enum(
        "raw_maps", "none", maps.RAW_FORMATS, "Also write the maps as numbers, with --maps."
    )
    flags.DEFINE_bool("report", False, "Also write an HTML report: curves and every image.")
    flags.DEFINE_string(
        "output_dir",
        None,
        "Output folder. Defaults to --run_dir, or with --server to the current folder.",
    )


def apply_decision_flags(model: AnomalyDetector, run_dir: Path, n_val: int) -> AnomalyDetector:
    """Applies `--omega1` and `--contamination` to a model.

    Args:
        model: The model of the run.
        run_dir: Folder of the run.
        n_val: Number of held-out images of the run.

    Returns:
        A new model, or `model` if neither flag is set.

    Raises:
        InputError: The run's `calibration.csv` is damaged, or a flag is out of range.
    """
    if FLAGS.omega1 is None and FLAGS.contamination is None:
        return model
    terms = read_calibration(run_dir, n_val)
    return model.redecide(terms, FLAGS.omega1, FLAGS.contamination)


def evaluate_run() -> None:
    """Scores images with the model of `--run_dir`."""
    common.refuse_flags(("model_name",), "works only with --server; leave it out with --run_dir")
    if FLAGS.report:
        # Slow to import, and its packages may be missing: fail now, not after the scoring.
        from ede_keras.evaluation import report
    run_dir = Path(FLAGS.run_dir).expanduser()
    config, metrics, model = load_run(run_dir)
    common.set_determinism(config["seed"], config["deterministic"])
    model = apply_decision_flags(model, run_dir, metrics["n_val"])
    output_dir = results.make_output_dir(run_dir)
    white = config.get("max_value") or MAX_VALUE
    if FLAGS.watch:
        pictures = results.choose_pictures(white)
        watch.watch_by_model(Path(FLAGS.watch), output_dir, model, white, pictures)
        return
    to_score = load_images_to_score(config, model, output_dir)
    stem, images, true_labels, ids, drawn, named, _ = to_score
    masks = drawn.select(ids, true_labels) if drawn and true_labels is not None else None
    scored, more, parts = common.score_set(model, images, true_labels, masks)
    if FLAGS.dataset and true_labels is not None:
        more |= check_drift(model, run_dir, metrics["n_val"], scored[0][true_labels == 0])
    facts = {name: metrics[name] for name in ("train_seconds", "n_train", "n_val")}
    facts |= {**common.decision(model, metrics["n_val"]), **more}
    path = output_dir / stem
    metrics = results.write_results(path, ids, true_labels, scored, facts, named, model)
    if FLAGS.maps:

        def compute(start: int, end: int) -> np.ndarray:
            return model.compute_maps(images[start:end])

        results.write_maps(ids, to_score.sources(), compute, model.pixel_threshold, white)
    if FLAGS.report:
        path = path.with_name(f"{stem}.html")
        scores, labels, _ = scored
        outlines = drawn.drawn if drawn else {}
        shown = report.ScoredImages(images, ids, scores, labels, true_labels, parts, outlines)
        report.write_report(path, model, shown, metrics, config)
        print(f"{'report':<22}{path}")
    results.end(scored[1])


def check_drift(
    model: AnomalyDetector, run_dir: Path, n_val: int, scores: np.ndarray
) -> dict[str, Any]:
    """The metrics that say whether scores of normal images look like the calibration's."""
    if len(scores) < drift.LEAST_IMAGES:
        return {}
    calibration, _ = model.combine_terms(read_calibration(run_dir, n_val))
    return {"drift": drift.find_drift(calibration, scores)._asdict()}


def main(argv: list[str]) -> None:
    """Scores with the model that the flags name."""
    del argv
    if (FLAGS.run_dir is None) == (FLAGS.server is None):
        received = "neither" if FLAGS.server is None else "both"
        raise InputError(
            "Expected either --run_dir, a finished run, or --server, an address. "
            f"Received: {received}"
        )
    if FLAGS.watch:
        others = ["dataset", "normal", "layout", "strict", "sort", "report", "fail_on_anomaly"]
        others.append("all_normal")
        common.refuse_flags(others, "has no effect with --watch; leave it out")
    if FLAGS.maps is None:
        common.refuse_flags(("raw_maps",), "works only with --maps; leave it out")
    if FLAGS.server:
        evaluate_server.evaluate_server()
    else:
        evaluate_run()


def run() -> None:
    """Runs the command."""
    define_flags()
    common.run(main)
