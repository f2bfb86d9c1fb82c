"""Exports a finished run for TF Serving, as the next version of a model.

python -m ede_keras.export --run_dir=runs/fmnist/2/0 --output_dir=serving/ede
python -m ede_keras.export --run_dir=runs/fmnist/2/0 --output_dir=serving/ede --format=onnx,litert
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from absl import flags, logging

from ede_keras.choices import EDE
from ede_keras.cli import command
from ede_keras.cli.runs import load_run
from ede_keras.data.images.decoding import MAX_VALUE
from ede_keras.models.detector import AnomalyDetector
from ede_keras.serving import edge_formats
from ede_keras.serving.edge_formats import FORMATS
from ede_keras.serving.savedmodel import export_savedmodel
from ede_keras.serving.server_files import write_server_files

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("run_dir", None, "Folder of a finished run of train.py.", required=True)
    flags.DEFINE_string("output_dir", None, "Folder of all versions of the model.", required=True)
    flags.DEFINE_integer(
        "version", None, "Version to write. Defaults to the next one.", lower_bound=1
    )
    flags.DEFINE_list(
        "format", [], f"Also write these formats for edge devices: {', '.join(FORMATS)}."
    )
    flags.DEFINE_boolean(
        "server_files",
        False,
        "Also write models.config and batching.txt, example configs for the server.",
    )


def describe_model(
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    model: AnomalyDetector,
    formats: Iterable[str],
) -> str:
    """Describes the model, its inputs and its outputs.

    Args:
        config: The config of the run.
        metrics: The metrics of the run.
        model: The model of the run.
        formats: The file formats for edge devices.

    Returns:
        The text of `MODEL.md`.
    """
    facts = {
        **_describe_method(config),
        **_describe_backbone(config),
        "trained on": f"{config['dataset']}, normal class {config['normal_name']}, "
        f"protocol {config['protocol']}, seed {config['seed']}, {metrics['n_train']} images",
        "threshold": f"{model.threshold:.6g}; a share of {model.contamination:g} of the "
        f"{metrics['n_val']} held-out normal images may score higher",
        "AUROC on its test set": metrics["auroc"],
        "average precision": metrics["average_precision"],
        "size": f"{model.count_params():,} weights, {4e-6 * model.count_params():.1f} MB",
        "speed": f"{1000 / metrics['images_per_second']:.1f} ms an image, in batches, where the "
        "model was trained",
        "`images`": f"float32 (n, {', '.join(map(str, model.image_shape))}), raw pixels, 0 to 255",
        "`image_bytes`": "PNG or JPEG of any size, grey or colour; resized to the size of `images`"
        f"; in a PNG of 16 bits {config.get('max_value') or MAX_VALUE} is white",
        "`score`": "higher means more anomalous",
        "`label`": "1, anomalous, if the score is above the threshold; else 0",
    }
    for name in formats:
        facts[f"`{FORMATS[name].file_name}`"] = "same inputs and outputs as `serving_default`"
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    return "\n".join(["# Anomaly detector", "", "| | |", "| --- | --- |", *rows, ""])


def _describe_method(config):
    """The recipe and the variant of an EDE, or the name of another method."""
    if config.get("method", EDE) != EDE:
        return {"method": config["method"]}
    return {"recipe": f"{config['recipe']}, variant {config['variant']}"}


def _describe_backbone(config: Mapping[str, Any]) -> dict[str, str]:
    """The row about the frozen network; none without one."""
    if not config.get("backbone"):
        return {}
    size = config.get("backbone_size", config["image_size"])
    return {
        "backbone": f"{config['backbone']}, SHA-256 of its weights {config['backbone_sha256']}, "
        f"sees images at {size} x {size} pixels"
    }


def main(argv: list[str]) -> None:
    """Exports the run that the flags name."""
    del argv
    # TensorFlow logs a line for each file it writes.
    logging.set_verbosity(logging.WARNING)
    edge_formats.check_formats(FLAGS.format)
    config, metrics, model = load_run(Path(FLAGS.run_dir).expanduser())
    description = describe_model(config, metrics, model, FLAGS.format)
    path = export_savedmodel(
        model,
        FLAGS.output_dir,
        FLAGS.version,
        description,
        FLAGS.format,
        command.bars(),
        config.get("max_value") or MAX_VALUE,
    )
    print(f"Exported and checked: {path}")
    if FLAGS.server_files:
        for path in write_server_files(FLAGS.output_dir):
            print(f"Written: {path}")


def run() -> None:
    """Runs the command."""
    define_flags()
    command.run(main)
