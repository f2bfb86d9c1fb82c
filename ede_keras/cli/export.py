"""Exports a finished run for TF Serving, as the next version of a model.

python -m ede_keras.export --run_dir=runs/fmnist/2/0 --output_dir=serving/ede
python -m ede_keras.export --run_dir=runs/fmnist/2/0 --output_dir=serving/ede --format=onnx,litert
"""

from pathlib import Path

from absl import flags, logging

from ede_keras.cli import common
from ede_keras.cli.runs import load_run
from ede_keras.serving.edge_formats import FORMATS
from ede_keras.serving.savedmodel import export_savedmodel
from ede_keras.serving.server_files import write_server_files

flags.DEFINE_string("run_dir", None, "A finished run, as train.py wrote it.", required=True)
flags.DEFINE_string("output_dir", None, "Folder of the model's versions.", required=True)
flags.DEFINE_integer("version", None, "Version; by default the next one.", lower_bound=1)
flags.DEFINE_list(
    "format", [], f"Files for edge devices beside the SavedModel: {', '.join(FORMATS)}."
)
flags.DEFINE_boolean(
    "server_files", False, "Also writes models.config and batching.txt, examples for the server."
)

FLAGS = flags.FLAGS


def describe(config, metrics, model, formats):
    """The text of `MODEL.md`: what the SavedModel is and what it takes."""
    facts = {
        "recipe": f"{config['recipe']}, variant {config['variant']}",
        "trained on": f"{config['dataset']}, normal class {config['normal_name']}, "
        f"protocol {config['protocol']}, seed {config['seed']}, {metrics['n_train']} images",
        "threshold": f"{model.threshold:.6g}, which {model.contamination:g} of "
        f"{metrics['n_val']} held-out normal images may exceed",
        "AUROC on its test set": metrics["auroc"],
        "average precision": metrics["average_precision"],
        "`images`": f"float32 (n, {', '.join(map(str, model.image_shape))}), raw pixels, 0 to 255",
        "`image_bytes`": "PNG or JPEG of any size, grey or colour; resized to these images",
        "`score`": "higher is more anomalous",
        "`label`": "1, anomalous, where the score is above the threshold",
    }
    for name in formats:
        facts[f"`{FORMATS[name].file_name}`"] = "takes and gives the same as `serving_default`"
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    return "\n".join(["# Anomaly detector", "", "| | |", "| --- | --- |", *rows, ""])


def main(argv):
    del argv
    # Notes on its files, which would bury the one line that counts.
    logging.set_verbosity(logging.WARNING)
    config, metrics, model = load_run(Path(FLAGS.run_dir).expanduser())
    description = describe(config, metrics, model, FLAGS.format)
    path = export_savedmodel(
        model, FLAGS.output_dir, FLAGS.version, description, FLAGS.format, common.bars()
    )
    print(f"Exported and checked: {path}")
    if FLAGS.server_files:
        for path in write_server_files(FLAGS.output_dir):
            print(f"Written: {path}")


def run():
    """Runs the command."""
    common.run(main)
