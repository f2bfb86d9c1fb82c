"""Trains a shared-autoencoder anomaly detector on one normal class and scores a test set.

python train.py --dataset=digits --normal=2
python train.py --dataset=fmnist --normal=shirt --recipe=paper --seed=1
python train.py --dataset=path/to/images

`ede-train` is the same command, from any folder.
"""

import importlib.util
import sys
from pathlib import Path

import keras
import tensorflow as tf
from absl import flags

from ede_keras.backbones.sources import load_backbone
from ede_keras.cli import argument_flags, common, train_rival
from ede_keras.cli.argument_flags import given_arguments
from ede_keras.cli.runs import METRICS, MODEL, SCORES, RunFolder, check_run_name
from ede_keras.cli.train_config import AUTO, choose_image_shape, choose_recipe, describe
from ede_keras.data.datasets import BUILT_IN, load_dataset
from ede_keras.data.folders import LAYOUTS
from ede_keras.data.protocols import PROTOCOLS, make_split
from ede_keras.errors import InputError
from ede_keras.layers.tiles import check_tiling, count_tiles, cut_tiles
from ede_keras.models.recipes import RECIPES, get_recipe
from ede_keras.models.tiled import TiledDetector
from ede_keras.models.variants import VARIANTS
from ede_keras.rivals import RIVALS
from ede_keras.training.callbacks import CtrlC
from ede_keras.training.fit_recipe import fit_recipe
from ede_keras.training.live_view import LiveView
from ede_keras.utils import devices
from ede_keras.utils.files import read_csv, read_json, write_csv

FLAGS = flags.FLAGS
JIT_COMPILE: dict[str, bool | str] = {"auto": "auto", "true": True, "false": False}
SHOWN_IN_LOGS = 256


def define_flags():
    """Defines the command's flags."""
    # What to train on.
    flags.DEFINE_string(
        "dataset",
        "digits",
        f"One of {', '.join(BUILT_IN)}; or the path of a folder of images, of a list of them (.csv "
        "with path,label and, if needed, split,mask) or of an .npz file.",
    )
    flags.DEFINE_string("data_dir", None, "The only folder to search for a built-in data set.")
    flags.DEFINE_string("normal", None, "Label or name of the normal class.")
    flags.DEFINE_enum("layout", None, LAYOUTS, "Layout of a folder. Detected by default.")
    flags.DEFINE_integer(
        "tile",
        None,
        "Height and width of the tiles to train on; images of a folder keep their size.",
        16,
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
        "protocol", None, PROTOCOLS, "How to split the data. Default: that of the data set."
    )
    flags.DEFINE_integer(
        "seed", 0, "Seed of the split, the weights and the shuffling.", 0, 2**32 - 1
    )
    # How to train; all arguments of the recipe follow.
    flags.DEFINE_enum(
        "recipe",
        AUTO,
        (AUTO, *RECIPES),
        "Named set of arguments. auto: features for image files if its weights are installed, "
        "else default.",
    )
    flags.DEFINE_enum("variant", "full", tuple(VARIANTS), "Variant, a row of Table 5's ablation.")
    flags.DEFINE_enum(
        "method",
        train_rival.EDE,
        (train_rival.EDE, *RIVALS),
        "Method: ede, the shared autoencoders; or another one, without recipes and variants.",
    )
    argument_flags.define_argument_flags()
    flags.adopt_module_key_flags(argument_flags)
    flags.DEFINE_enum(
        "jit_compile",
        "auto",
        tuple(JIT_COMPILE),
        "Whether to compile with XLA. auto: on a GPU only. true needs --nodeterministic.",
    )
    flags.DEFINE_enum(
        "strategy",
        "one",
        tuple(devices.STRATEGIES),
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


def tile_shape(image_shape):
    """The shape that the networks see: a tile's with --tile, else the image's."""
    return (FLAGS.tile, FLAGS.tile, image_shape[-1]) if FLAGS.tile else image_shape


def build_callbacks(work, x_val, strategy):
    """TensorBoard's callbacks, for the process that writes."""
    if not devices.is_chief(strategy):
        return []
    if not importlib.util.find_spec("tensorboard"):
        print("No TensorBoard logs: pip install 'ede-keras[tensorboard]' to get them.")
        return []
    callbacks = [keras.callbacks.TensorBoard(work / "logs", write_graph=False)]
    if devices.count_workers(strategy) == 1:  # it predicts, which needs all workers
        callbacks.append(LiveView(work / "logs" / "view", x_val[:SHOWN_IN_LOGS]))
    return callbacks


def train(recipe, backbone, x_train, x_val, work, strategy):
    """Trains to the last epoch, from the last checkpoint if there is one.

    Returns the model, as one device has it, and the seconds that all epochs took; but None and 0
    in a worker that is not the chief.
    """
    checkpoints = Path(work, "checkpoints")
    with CtrlC() as ctrl_c:
        model, _ = fit_recipe(
            recipe,
            x_train,
            validation_data=x_val,
            variant=VARIANTS[FLAGS.variant],
            seed=FLAGS.seed,
            checkpoint_dir=checkpoints,
            callbacks=[ctrl_c, *build_callbacks(work, x_val, strategy)],
            verbose=1 if common.bars() else 2 * (FLAGS.verbosity > common.QUIET),
            jit_compile=JIT_COMPILE[FLAGS.jit_compile],
            strategy=strategy,
            **{**given_arguments(FLAGS), "backbone": backbone},
        )
    if not devices.is_chief(strategy):
        return None, 0
    if FLAGS.strategy != "one":
        model = keras.saving.load_model(checkpoints / "last.keras")
    return model, sum(map(float, read_csv(checkpoints / "history.csv")["seconds"]))


def check_data_flags(dataset, split):
    """Raises an `InputError` for flags that have no effect on this data, or do not suit it."""
    if FLAGS.max_value and dataset.max_value != FLAGS.max_value:
        raise InputError(
            "--max_value has no effect on pixels of 8 bits or on floats up to 1: leave it out. "
            f"Received: --max_value={FLAGS.max_value}"
        )
    height, width = split.x_train.shape[1:3]
    if FLAGS.tile and FLAGS.tile > min(height, width):
        raise InputError(
            f"--tile must be at most the shorter side of the images, {height} x {width} pixels. "
            f"Received: --tile={FLAGS.tile}"
        )


def finish(model, train_seconds, split, run):
    """Calibrates, scores the test set and moves the run to its place."""
    terms = model.calibrate(split.x_train, held_out=split.x_val, verbose=common.bars())
    write_csv(run.work / "calibration.csv", terms)
    model.save(run.work / MODEL)
    counts = {"n_train": len(split.x_train), "n_val": len(split.x_val)}
    masks = split.masks and split.masks.select(split.test_ids, split.y_test)
    scored, more, _ = common.score_set(model, split.x_test, split.y_test, masks)
    decision = common.decision(model, len(split.x_val))
    metrics = common.write_scores(
        run.work / METRICS,
        run.work / SCORES,
        split.test_ids,
        split.y_test,
        scored,
        {**decision, "train_seconds": train_seconds, **counts, **more},
        model,
    )
    run.finish()
    common.print_table(metrics, run.final)


def main(argv):
    """Trains, calibrates, scores."""
    del argv
    if FLAGS.jit_compile == "true" and FLAGS.deterministic:
        raise InputError("XLA is not deterministic: --jit_compile=true needs --nodeterministic.")
    check_run_name(FLAGS.run_name)
    strategy = devices.make_strategy(FLAGS.strategy)
    common.set_determinism(FLAGS.seed, FLAGS.deterministic)
    if FLAGS.stride and not FLAGS.tile:
        raise InputError("--stride has no effect without --tile: leave it out.")
    is_rival = train_rival.is_asked()
    recipe = FLAGS.method if is_rival else choose_recipe(FLAGS.recipe, FLAGS.dataset)
    backbone = FLAGS.backbone or RECIPES.get(recipe, {}).get("backbone")
    read_shape, largest_side = choose_image_shape(backbone, FLAGS.image_size, FLAGS.tile)
    dataset = load_dataset(
        FLAGS.dataset,
        FLAGS.data_dir,
        read_shape,
        strict=FLAGS.strict,
        layout=FLAGS.layout,
        verbose=common.bars(),
        normal=FLAGS.normal,
        max_value=FLAGS.max_value,
        largest_side=largest_side,
    )
    common.print_summary(dataset)
    split = make_split(dataset, FLAGS.protocol, FLAGS.normal, FLAGS.seed)
    image_shape = split.x_train.shape[1:]
    n_tiles = count_tiles(image_shape, FLAGS.tile, FLAGS.stride) if FLAGS.tile else 1
    check_data_flags(dataset, split)
    if FLAGS.tile:
        check_tiling(image_shape, tile_shape(image_shape), FLAGS.stride)
    # All errors in the arguments are reported here, before a folder is made.
    if is_rival:
        values = train_rival.resolve(image_shape)
    else:
        arguments, training = get_recipe(
            recipe,
            tile_shape(image_shape),
            n_tiles * len(split.x_train),
            unused=VARIANTS[FLAGS.variant].unused_arguments,
            **given_arguments(FLAGS),
        )
        with strategy.scope():
            backbone = arguments.backbone and load_backbone(arguments.backbone)
        values = {**arguments.to_dict(), "backbone_sha256": backbone and backbone.sha256}
        values |= training.to_dict()
    config = describe(recipe, dataset, split, values)
    run = RunFolder(FLAGS.output_dir, config)
    state = devices.run_on_chief(
        strategy, lambda: run.begin(FLAGS.resume, FLAGS.overwrite), ("new", "resumed", "finished")
    )
    if state == "finished":
        print("The run is finished; there is nothing to resume.")
        common.print_table(read_json(run.final / METRICS), run.final)
        return
    used = len(split.x_train) + len(split.x_val) + len(split.x_test)
    unused = len(dataset.x_train) + len(dataset.x_test) - used
    print(
        f"{dataset.name} from {dataset.source}: normal class {split.normal_name!r}, "
        f"{len(split.x_train)} images to train on, {len(split.x_val)} held out, "
        f"{len(split.x_test)} to test" + (f", {unused} of other classes not used" if unused else "")
    )
    x_train, x_val = split.x_train, split.x_val
    if FLAGS.tile:
        x_train, x_val = (cut_tiles(x, FLAGS.tile, FLAGS.stride) for x in (x_train, x_val))
    if devices.is_chief(strategy):
        common.write_summary(dataset, run.work / "data.json", run.work / "left_out.csv")
    del dataset  # the split has copies of what it needs
    try:
        if is_rival:
            model, seconds = train_rival.train(x_train, run.work)
        else:
            model, seconds = train(recipe, backbone, x_train, x_val, run.work, strategy)
        if model:
            if FLAGS.tile:
                model = TiledDetector(model, image_shape, FLAGS.stride, arguments.contamination)
            finish(model, seconds, split, run)
        devices.broadcast_from_chief(strategy, 1)  # others end when a worker ends
    except tf.errors.UnavailableError as error:
        raise InputError(
            "Another worker was lost. Restart all workers with the same commands and --resume. "
            f"Received: {str(error).splitlines()[0]}"
        ) from error
    except KeyboardInterrupt:
        print(f"\nStopped. Continue with the same command and --resume ({run.work}).")
        sys.exit(130)


def run():
    """Runs the command."""
    define_flags()
    common.run(main)
