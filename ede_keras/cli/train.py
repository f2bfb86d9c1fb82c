"""Trains the shared-autoencoder anomaly detector on one normal class and scores a test set.

python train.py --dataset=digits --normal=2
python train.py --dataset=fmnist --normal=shirt --recipe=paper --seed=1
python train.py --dataset=path/to/images
"""

import importlib.util
import os
import sys

import keras
import tensorflow as tf
from absl import flags

from ede_keras.cli import common
from ede_keras.cli.runs import METRICS, MODEL, RunFolder
from ede_keras.data.datasets import BUILT_IN, load_dataset
from ede_keras.data.folders import LAYOUTS
from ede_keras.data.protocols import PROTOCOLS, make_split
from ede_keras.errors import InputError
from ede_keras.models import recipes
from ede_keras.models.arguments import PRETEXTS, SCORES
from ede_keras.models.losses import NORMS
from ede_keras.models.schedules import SCHEDULES
from ede_keras.models.tiled import TiledDetector, count_tiles
from ede_keras.models.trainer import PHASE2_UPDATES, UPDATES
from ede_keras.models.variants import VARIANTS
from ede_keras.training.callbacks import CtrlC, EpochCheckpoint, learning_rate_callbacks
from ede_keras.training.live_view import LiveView
from ede_keras.utils import devices
from ede_keras.utils.files import read_json, reading, write_csv
from ede_keras.utils.pipeline import make_train_dataset

# What is trained on.
flags.DEFINE_string(
    "dataset", "digits", f"One of {', '.join(BUILT_IN)}; or a path to an .npz or to a folder."
)
flags.DEFINE_string("data_dir", None, "Where a built-in set lies; nothing else is searched then.")
flags.DEFINE_string("normal", None, "Label or name of the normal class.")
flags.DEFINE_enum("layout", None, LAYOUTS, "Of a folder; by default recognised.")
flags.DEFINE_integer(
    "tile", None, "Learns from tiles of so many pixels; a folder's images keep their size.", 16
)
flags.DEFINE_integer("stride", None, "From tile to tile; by default half a tile.", 1)
flags.DEFINE_bool("strict", False, "Refuses a folder with damaged images, left out otherwise.")
flags.DEFINE_enum("protocol", None, PROTOCOLS, "How to split; by default the data set's own.")
flags.DEFINE_integer("seed", 0, "Of split, first weights and shuffling.", 0, 2**32 - 1)
# How.
flags.DEFINE_enum("recipe", "default", tuple(recipes.RECIPES), "Named set of arguments.")
flags.DEFINE_enum("variant", "full", tuple(VARIANTS), "What is left of the method, Table 5.")
flags.DEFINE_float("contamination", 0.05, "Share of normal images that may be called anomalous.")
flags.DEFINE_enum(
    "jit_compile",
    "auto",
    ("auto", "true", "false"),
    "XLA; auto: on a GPU; true: with --nodeterministic.",
)
flags.DEFINE_enum(
    "strategy",
    "one",
    devices.STRATEGIES,
    "Devices that share a batch: one; mirrored, all of this machine; multi_worker, by TF_CONFIG.",
)
flags.DEFINE_bool("deterministic", True, "The same bits every time, on a CPU; rules out XLA.")
# Where to.
flags.DEFINE_string("output_dir", "runs", "Folder of all runs.")
flags.DEFINE_bool("resume", False, "Go on with an unfinished run.")
flags.DEFINE_bool("overwrite", False, "Replace whatever run is there.")
flags.mark_bool_flags_as_mutual_exclusive(["resume", "overwrite"])

# Each replaces an argument of the recipe; unset, the recipe's holds.
RECIPE_FLAGS = (
    flags.DEFINE_integer("epochs", None, "Epochs.", lower_bound=1),
    flags.DEFINE_integer("min_steps", None, "Batches of an epoch, at the least.", lower_bound=1),
    flags.DEFINE_integer("batch_size", None, "Images in a batch.", lower_bound=1),
    flags.DEFINE_float("learning_rate", None, "Adam's, of both EDEs."),
    flags.DEFINE_bool("cosine_decay", None, "Whether the learning rate falls to 0 by a cosine."),
    flags.DEFINE_integer("latent_dim", None, "Length of the latent vectors.", lower_bound=1),
    flags.DEFINE_integer("image_size", None, "Image size inside the networks.", lower_bound=16),
    flags.DEFINE_integer("base_width", None, "Filters of the first layer.", lower_bound=1),
    flags.DEFINE_float("image_weight", None, "alpha, of the image term."),
    flags.DEFINE_float("latent_weight", None, "beta, of the latent term."),
    flags.DEFINE_enum("norm", None, NORMS, "d: mean absolute or squared difference."),
    flags.DEFINE_enum("schedule", None, SCHEDULES, "Weight of phase 1 by epoch."),
    flags.DEFINE_float(
        "phase_floor", None, "Least weight of phase 1, of the floored schedule.", 0.0, 1.0
    ),
    flags.DEFINE_enum("update", None, UPDATES, "Order of the two EDEs' updates."),
    flags.DEFINE_enum("phase2_updates", None, PHASE2_UPDATES, "What phase 2 moves."),
    flags.DEFINE_bool("fixed_latent_target", None, "Whether z is a constant in d(z, z_i)."),
    flags.DEFINE_enum("score", None, SCORES, "First term of Equation (8)."),
    flags.DEFINE_float("omega1", None, "omega1 in 0 to 1, of the first term of (8).", 0.0, 1.0),
    flags.DEFINE_enum("pretext", None, PRETEXTS, "What E1 sees of an image in training."),
    flags.DEFINE_float("pretext_weight", None, "lambda, of the pretext's loss.", 0.0),
    flags.DEFINE_integer("pretext_views", None, "Views of an image in a step.", lower_bound=1),
    flags.DEFINE_bool("mirror", None, "Mirrors every other image of a training batch."),
    flags.DEFINE_integer("memory_size", None, "Normal codes remembered, at most.", lower_bound=1),
)
FLAGS = flags.FLAGS
SHOWN_IN_LOGS = 256


def build_model(image_shape, n_train):
    """The model that the flags ask for, compiled, and the arguments of its training."""
    overrides = {flag.name: flag.value for flag in RECIPE_FLAGS if flag.value is not None}
    arguments, training = recipes.get_recipe(FLAGS.recipe, image_shape, **overrides)
    if arguments.get("pretext", "none") != "none" and n_train < 2:
        raise InputError(
            "Expected at least 2 normal images to train on, which the pretext's terms compare "
            f"others with: add images, or use --pretext=none. Received: {n_train}"
        )
    if "memory_size" in arguments:
        # Places without a code of their own would make a small set's model large and slow.
        arguments["memory_size"] = min(arguments["memory_size"], n_train)
    model = VARIANTS[FLAGS.variant](image_shape, contamination=FLAGS.contamination, **arguments)
    model.compile(
        keras.optimizers.Adam(training["learning_rate"], beta_1=training["beta_1"]),
        jit_compile={"auto": "auto", "true": True, "false": False}[FLAGS.jit_compile],
    )
    return model, training


def tile_shape(image_shape):
    """What the networks see: a tile, if there are any, else the image."""
    return (FLAGS.tile, FLAGS.tile, image_shape[-1]) if FLAGS.tile else image_shape


def score_images(model, image_shape):
    """The model, of tiles perhaps, as one that scores whole images."""
    if not FLAGS.tile:
        return model
    return TiledDetector(model, image_shape, FLAGS.stride, FLAGS.contamination)


def build_callbacks(training, work, x_val, strategy, *callbacks):
    # The rate before the checkpoint, whose history is to name it.
    callbacks = [*learning_rate_callbacks(training), *callbacks]
    if importlib.util.find_spec("tensorboard"):
        callbacks.append(keras.callbacks.TensorBoard(work / "logs", write_graph=False))
        if devices.count_workers(strategy) == 1:  # it predicts, which is for all workers to do
            callbacks.append(LiveView(work / "logs" / "view", x_val[:SHOWN_IN_LOGS]))
    else:
        print("No TensorBoard logs: pip install 'ede-keras[tensorboard]' for them.")
    return callbacks


def train(model, training, x_train, x_val, work, strategy):
    """Trains to the last epoch, from the last checkpoint if there is one.

    Returns the model, as one device has it, and the seconds that all epochs took; but None and 0
    in a worker that is not the chief.
    """
    last = work / "checkpoints" / "last.keras"
    initial_epoch = 0
    if last.exists():
        with reading(last, "begin anew by --overwrite"), strategy.scope():
            model = keras.saving.load_model(last)
        initial_epoch = int(model.epoch.numpy())
    is_chief = devices.is_chief(strategy)
    checkpoint = EpochCheckpoint(last.parent, initial_epoch) if is_chief else None
    dataset, steps = make_train_dataset(
        x_train, training["batch_size"], FLAGS.seed, initial_epoch, training["min_steps"]
    )
    with CtrlC() as ctrl_c:
        model.fit(
            dataset,
            steps_per_epoch=steps,
            initial_epoch=initial_epoch,
            epochs=training["epochs"],
            validation_data=x_val,
            validation_batch_size=training["batch_size"],
            callbacks=(
                build_callbacks(training, work, x_val, strategy, checkpoint, ctrl_c)
                if is_chief
                else [*learning_rate_callbacks(training), ctrl_c]
            ),
            verbose=1 if common.bars() else 2 * (FLAGS.verbosity > common.QUIET),
        )
    if not is_chief:
        return None, 0
    if FLAGS.strategy != "one":
        model = keras.saving.load_model(last)
    return model, checkpoint.seconds


def absolute(path):
    return os.path.abspath(os.path.expanduser(path))


def describe(dataset, split, model, training):
    """The run's config: what was trained on and every argument that shapes the result."""
    arguments = model.get_config()
    arguments.pop("name")
    return {
        "dataset": dataset.name,
        "dataset_path": None if FLAGS.dataset in BUILT_IN else absolute(FLAGS.dataset),
        "data_dir": FLAGS.data_dir and absolute(FLAGS.data_dir),
        "layout": FLAGS.layout,
        "protocol": FLAGS.protocol or dataset.default_protocol,
        "normal": split.normal,
        "normal_name": split.normal_name,
        "seed": FLAGS.seed,
        "recipe": FLAGS.recipe,
        "variant": FLAGS.variant,
        "deterministic": FLAGS.deterministic,
        "jit_compile": FLAGS.jit_compile,
        "tile": FLAGS.tile,
        "stride": FLAGS.stride,
        **arguments,
        "image_shape": list(split.x_train.shape[1:]),
        **training,
    }


def finish(model, train_seconds, split, run):
    """Calibrates, scores the test set and puts the run into its place."""
    terms = model.calibrate(split.x_train, held_out=split.x_val, verbose=common.bars())
    write_csv(run.work / "calibration.csv", terms)
    model.save(run.work / MODEL)
    counts = {"n_train": len(split.x_train), "n_val": len(split.x_val)}
    on_pixels = common.score_maps(
        model, split.x_test, split.y_test, split.test_ids, run.config["dataset_path"]
    )
    metrics = common.write_scores(
        run.work / METRICS,
        run.work / "scores.csv",
        split.test_ids,
        split.y_test,
        common.score_set(model, split.x_test),
        {**common.decision(model), "train_seconds": train_seconds, **counts, **on_pixels},
    )
    run.finish()
    common.print_table(metrics, run.final)


def main(argv):
    del argv
    if FLAGS.jit_compile == "true" and FLAGS.deterministic:
        raise InputError("XLA is not deterministic: --jit_compile=true needs --nodeterministic.")
    strategy = devices.make_strategy(FLAGS.strategy)
    common.set_determinism(FLAGS.seed, FLAGS.deterministic)
    if FLAGS.stride and not FLAGS.tile:
        raise InputError("--stride goes with --tile; leave it out.")
    size = None if FLAGS.tile else FLAGS.image_size
    dataset = load_dataset(
        FLAGS.dataset,
        FLAGS.data_dir,
        (size, size, None) if FLAGS.image_size or FLAGS.tile else None,
        strict=FLAGS.strict,
        layout=FLAGS.layout,
        verbose=common.bars(),
    )
    common.tell_layout(dataset)
    split = make_split(dataset, FLAGS.protocol, FLAGS.normal, FLAGS.seed)
    image_shape = split.x_train.shape[1:]
    n_tiles = count_tiles(image_shape, FLAGS.tile, FLAGS.stride) if FLAGS.tile else 1
    with strategy.scope():
        model, training = build_model(tile_shape(image_shape), n_tiles * len(split.x_train))
    whole = score_images(model, image_shape)
    run = RunFolder(FLAGS.output_dir, describe(dataset, split, model, training))
    state = devices.ask_chief(
        strategy, lambda: run.begin(FLAGS.resume, FLAGS.overwrite), ("new", "resumed", "finished")
    )
    if state == "finished":
        print("The run is finished, nothing is left to resume.")
        common.print_table(read_json(run.final / METRICS), run.final)
        return
    print(
        f"{dataset.name} from {dataset.source}: normal class {split.normal_name!r}, "
        f"{len(split.x_train)} images to train on, {len(split.x_val)} held out, "
        f"{len(split.x_test)} to test"
    )
    x_train, x_val = split.x_train, split.x_val
    if FLAGS.tile:
        x_train, x_val = whole.cut(x_train), whole.cut(x_val)
    common.write_damaged(run.work / "damaged.csv", dataset)
    del dataset  # the split has copies of what it needs
    try:
        model, seconds = train(model, training, x_train, x_val, run.work, strategy)
        if model:
            finish(score_images(model, image_shape), seconds, split, run)
        devices.tell_all(strategy, 1)  # a worker that ends ends the others
    except tf.errors.UnavailableError as error:
        raise InputError(
            "Another worker is lost. Start all of them again, by the same commands with --resume. "
            f"Received: {str(error).splitlines()[0]}"
        ) from error
    except KeyboardInterrupt:
        print(f"\nStopped. Go on by the same command with --resume ({run.work}).")
        sys.exit(130)


def run():
    """Runs the command."""
    common.run(main)
