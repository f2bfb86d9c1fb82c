"""Scores the test set of a finished run again, or other images.

The model is that of the run, or one that TF Serving serves.

python evaluate.py --run_dir=runs/digits/2/0
python evaluate.py --run_dir=runs/digits/2/0 --contamination=0.01
python evaluate.py --run_dir=runs/parts/good/0 --dataset=path/to/new_images
python evaluate.py --server=localhost:8500 --dataset=path/to/new_images
"""

from absl import flags

from ede_keras import choices
from ede_keras.cli import command
from ede_keras.errors import InputError

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
        "layout", None, choices.LAYOUTS, "Layout of the folder --dataset. Detected by default."
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
        f"Ends with exit status {command.ANOMALY_FOUND} if an image is labelled anomalous.",
    )
    flags.DEFINE_string(
        "maps",
        None,
        "Folder for a picture of each image: where it is anomalous, with a contour. regions.csv "
        "has the boxes. With --watch only of anomalous images, and without regions.csv.",
    )
    flags.DEFINE_enum(
        "raw_maps", "none", choices.RAW_FORMATS, "Also write the maps as numbers, with --maps."
    )
    flags.DEFINE_bool("report", False, "Also write an HTML report: curves and every image.")
    flags.DEFINE_string(
        "output_dir",
        None,
        "Output folder. Defaults to --run_dir, or with --server to the current folder.",
    )


def main(argv: list[str]) -> None:
    """Scores with the model that the flags name."""
    del argv
    if (FLAGS.run_dir is None) == (FLAGS.server is None):
        received = "neither" if FLAGS.server is None else "both"
        raise InputError(
            "Expected either --run_dir, a finished run, or --server, an address. "
            f"Received: {received}"
        )
    if FLAGS.run_dir:
        name = ("model_name",)
        command.refuse_flags(name, "works only with --server; leave it out with --run_dir")
    if FLAGS.watch:
        others = ["dataset", "normal", "layout", "strict", "sort", "report", "fail_on_anomaly"]
        others.append("all_normal")
        command.refuse_flags(others, "has no effect with --watch; leave it out")
    if FLAGS.maps is None:
        command.refuse_flags(("raw_maps",), "works only with --maps; leave it out")
    import ede_keras.library  # noqa: F401  seconds, after the flags

    if FLAGS.server:
        from ede_keras.cli.evaluate_server import evaluate_server

        evaluate_server()
    else:
        from ede_keras.cli.evaluate_run import evaluate_run

        evaluate_run()


def run() -> None:
    """Runs the command."""
    define_flags()
    command.run(main)
