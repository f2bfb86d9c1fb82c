"""What `ede-evaluate` does with a run: scores its test set, or other images."""

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from ede_keras.cli import common, results, watch
from ede_keras.cli.images_to_score import load_images_to_score
from ede_keras.cli.runs import load_run, read_calibration
from ede_keras.data.images.decoding import MAX_VALUE
from ede_keras.evaluation import drift
from ede_keras.models.detector import AnomalyDetector

FLAGS = flags.FLAGS


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
