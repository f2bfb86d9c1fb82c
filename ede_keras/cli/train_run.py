"""What `ede-train` does: reads images, trains, calibrates, scores, writes the run's folder."""

import importlib.util
import sys
from pathlib import Path

import keras
import tensorflow as tf
from absl import flags

from ede_keras.backbones.sources import load_backbone
from ede_keras.cli import command, common, train_rival
from ede_keras.cli.argument_flags import given_arguments
from ede_keras.cli.runs import METRICS, MODEL, SCORES, RunFolder, check_run_name
from ede_keras.cli.train_config import choose_image_shape, choose_recipe, describe, note_proportions
from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.errors import InputError
from ede_keras.evaluation.patches import find_patches
from ede_keras.layers.tiles import check_tiling, count_tiles, cut_tiles
from ede_keras.models.recipes import RECIPES, get_recipe
from ede_keras.models.tiled import TiledDetector
from ede_keras.models.variants import VARIANTS
from ede_keras.training.callbacks import CtrlC
from ede_keras.training.fit_recipe import fit_recipe
from ede_keras.training.live_view import LiveView
from ede_keras.utils import devices
from ede_keras.utils.files import read_csv, read_json, write_csv

FLAGS = flags.FLAGS
JIT_COMPILE: dict[str, bool | str] = {"auto": "auto", "true": True, "false": False}
SHOWN_IN_LOGS = 256


def tile_shape(image_shape):
    """The shape that the networks see: a tile's with --tile, else the image's."""
    return (FLAGS.tile, FLAGS.tile, image_shape[-1]) if FLAGS.tile else image_shape


def build_callbacks(logs, x_val, strategy):
    """TensorBoard's callbacks, for the process that writes."""
    if not devices.is_chief(strategy):
        return []
    if not importlib.util.find_spec("tensorboard"):
        print("No TensorBoard logs: pip install 'ede-keras[tensorboard]' to get them.")
        return []
    callbacks = [keras.callbacks.TensorBoard(logs, write_graph=False)]
    if devices.count_workers(strategy) == 1:  # it predicts, which needs all workers
        callbacks.append(LiveView(logs / "view", x_val[:SHOWN_IN_LOGS]))
    return callbacks


def train(recipe, backbone, x_train, x_val, work, strategy, part=""):
    """Trains to the last epoch, from the last checkpoint if there is one.

    Checkpoints and logs of a `part` of the model have folders of their own.

    Returns the model, as one device has it, and the seconds that all epochs took; but None and 0
    in a worker that is not the chief.
    """
    checkpoints, logs = Path(work, "checkpoints", part), Path(work, "logs", part)
    with CtrlC() as ctrl_c:
        model, _ = fit_recipe(
            recipe,
            x_train,
            validation_data=x_val,
            variant=VARIANTS[FLAGS.variant],
            seed=FLAGS.seed,
            checkpoint_dir=checkpoints,
            callbacks=[ctrl_c, *build_callbacks(logs, x_val, strategy)],
            verbose=1 if command.bars() else 2 * (FLAGS.verbosity > command.QUIET),
            jit_compile=JIT_COMPILE[FLAGS.jit_compile],
            strategy=strategy,
            **{**given_arguments(FLAGS), "backbone": backbone},
        )
    if not devices.is_chief(strategy):
        return None, 0
    if FLAGS.strategy != "one":
        model = keras.saving.load_model(checkpoints / "last.keras")
    return model, sum(map(float, read_csv(checkpoints / "history.csv")["seconds"]))


def resolve(recipe, image_shape, n_train):
    """The arguments of a detector and of its training, for so many images."""
    unused = VARIANTS[FLAGS.variant].unused_arguments
    return get_recipe(recipe, image_shape, n_train, unused=unused, **given_arguments(FLAGS))


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


def finish(model, train_seconds, split, run, **tiles):
    """Calibrates, scores the test set and moves the run to its place."""
    terms = model.calibrate(split.x_train, held_out=split.x_val, verbose=command.bars(), **tiles)
    write_csv(run.work / "calibration.csv", terms)
    model.save(run.work / MODEL)
    counts = {"n_train": len(split.x_train), "n_val": len(split.x_val)}
    masks = split.masks and split.masks.select(split.test_ids, split.y_test)
    scored, more, _ = common.score_set(model, split.x_test, split.y_test, masks)
    decision = common.decision(model, len(split.x_val))
    patches = {"patches_found": [r._asdict() for r in find_patches(model, split.x_val)]}
    metrics = common.write_scores(
        run.work / METRICS,
        run.work / SCORES,
        split.test_ids,
        split.y_test,
        scored,
        {**decision, **patches, "train_seconds": train_seconds, **counts, **more},
        model,
    )
    run.finish()
    common.print_table(metrics, run.final)


def train_run():
    """Trains, calibrates, scores."""
    check_run_name(FLAGS.run_name)
    strategy = devices.make_strategy(FLAGS.strategy)
    common.set_determinism(FLAGS.seed, FLAGS.deterministic)
    is_rival = train_rival.is_asked()
    recipe = FLAGS.method if is_rival else choose_recipe(FLAGS.recipe, FLAGS.dataset)
    backbone = None if is_rival else FLAGS.backbone or RECIPES[recipe].get("backbone")
    read_shape, largest_side = choose_image_shape(backbone, FLAGS.image_size, FLAGS.tile)
    dataset = load_dataset(
        FLAGS.dataset,
        FLAGS.data_dir,
        read_shape,
        strict=FLAGS.strict,
        layout=FLAGS.layout,
        verbose=command.bars(),
        normal=FLAGS.normal,
        max_value=FLAGS.max_value,
        largest_side=largest_side,
    )
    common.print_summary(dataset)
    if not FLAGS.tile:
        for line in note_proportions(dataset.summary, has_tiles=not is_rival):
            print(line)
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
        n_train = len(split.x_train)
        arguments, training = resolve(recipe, tile_shape(image_shape), n_tiles * n_train)
        with strategy.scope():
            backbone = arguments.backbone and load_backbone(arguments.backbone)
        values = {**arguments.to_dict(), "backbone_sha256": backbone and backbone.sha256}
        values |= training.to_dict()
        if FLAGS.tile:
            whole = resolve(recipe, image_shape, n_train)
            values |= {"whole": {**whole[0].to_dict(), **whole[1].to_dict()}}
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
        if FLAGS.tile:
            print("The tiles are learned; now the whole images")
            images = split.x_train, split.x_val
            whole, more = train(recipe, backbone, *images, run.work, strategy, part="whole")
            seconds += more
        if model and FLAGS.tile:
            contamination = arguments.contamination
            model = TiledDetector(model, image_shape, FLAGS.stride, contamination, whole=whole)
            finish(model, seconds, split, run, tiles=(x_train, x_val))
        elif model:
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
