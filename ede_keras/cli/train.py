"""Trains a shared-autoencoder anomaly detector on one normal class and scores a test set.

python train.py --dataset=digits --normal=2
python train.py --dataset=fmnist --normal=shirt --recipe=paper --seed=1
python train.py --dataset=path/to/images

`ede-train` is the same command, from any folder.
"""

from absl import flags

from ede_keras import choices
from ede_keras.cli import argument_flags, command
from ede_keras.errors import InputError
from ede_keras.layers.image_sizes import SMALLEST
from ede_keras.models.recipes import RECIPES

FLAGS = flags.FLAGS
# Flags of an EDE alone.
OF_EDE = ("recipe", "variant", "tile", "stride", "strategy", "jit_compile")


def define_flags():
    """Defines the command's flags."""
    # What to train on.
    flags.DEFINE_string(
        "dataset",
        "digits",
        f"One of {', '.join(choices.DATASETS)}; or the path of a folder of images, of a list of "
        "them (.csv with path,label and, if needed, split,mask) or of an .npz file.",
    )
    flags.DEFINE_string("data_dir", None, "The only folder to search for a built-in data set.")
    flags.DEFINE_string("normal", None, "Label or name of the normal class.")
    flags.DEFINE_enum("layout", None, choices.LAYOUTS, "Layout of a folder. Detected by default.")
    flags.DEFINE_integer(
        "tile",
        None,
        "Height and width of tiles to train on beside whole images, which keep their size then.",
        SMALLEST,
    )
    flags.DEFINE_integer(
        "stride", None, "Pixels from one tile to the next; by default half a tile.", 1
    )
    flags.DEFINE_bool(
        "strict", False, "Rejects a folder if any file in it is left out, for whatever reason."
    )
    flags.DEFINE_integer(
        "max_value",
        None,
        "Value of white in images of more than 8 bits. By default the smallest of 255, 1023, "
        "4095, 16383 and 65535 that no pixel exceeds.",
        1,
    )
    flags.DEFINE_enum(
        "protocol", None, choices.PROTOCOLS, "How to split the data. Default: that of the data set."
    )
    flags.DEFINE_integer(
        "seed", 0, "Seed of the split, the weights and the shuffling.", 0, 2**32 - 1
    )
    # How to train; all arguments of the recipe follow.
    flags.DEFINE_enum(
        "recipe",
        choices.AUTO,
        (choices.AUTO, *RECIPES),
        "Named set of arguments. auto: features for image files if its weights are installed, "
        "else default.",
    )
    flags.DEFINE_enum("variant", "full", choices.VARIANTS, "Variant, a row of Table 5's ablation.")
    flags.DEFINE_enum(
        "method",
        choices.EDE,
        (choices.EDE, *choices.RIVALS),
        "Method: ede, the shared autoencoders; or another one, without recipes and variants.",
    )
    argument_flags.define_argument_flags()
    flags.adopt_module_key_flags(argument_flags)
    flags.DEFINE_enum(
        "jit_compile",
        choices.AUTO,
        (choices.AUTO, "true", "false"),
        "Whether to compile with XLA. auto: on a GPU only. true needs --nodeterministic.",
    )
    flags.DEFINE_enum(
        "strategy",
        "one",
        choices.STRATEGIES,
        "Devices that share each batch. one: a single device; mirrored: all of this machine; "
        "multi_worker: those that the environment variable TF_CONFIG lists.",
    )
    flags.DEFINE_bool(
        "deterministic", True, "Gives bit-identical results every time on a CPU; rules out XLA."
    )
    # Where to write.
    flags.DEFINE_string("output_dir", "runs", "Folder of all runs.")
    flags.DEFINE_string(
        "run_name",
        None,
        "Name of the run's folder, <output_dir>/<dataset>/<normal>/<run_name>. Default: the seed.",
    )
    flags.DEFINE_bool("resume", False, "Continues an unfinished run.")
    flags.DEFINE_bool("overwrite", False, "Replaces an existing run.")
    flags.mark_bool_flags_as_mutual_exclusive(["resume", "overwrite"])


def main(argv: list[str]) -> None:
    """Trains, calibrates, scores."""
    del argv
    if FLAGS.jit_compile == "true" and FLAGS.deterministic:
        raise InputError("XLA is not deterministic: --jit_compile=true needs --nodeterministic.")
    if FLAGS.method != choices.EDE:
        command.refuse_flags(OF_EDE, f"has no effect with --method={FLAGS.method}; leave it out")
    if FLAGS.stride and not FLAGS.tile:
        raise InputError("--stride has no effect without --tile: leave it out.")
    import ede_keras.library  # noqa: F401  seconds, after the flags
    from ede_keras.cli.train_run import train_run

    train_run()


def run() -> None:
    """Runs the command."""
    define_flags()
    command.run(main)
