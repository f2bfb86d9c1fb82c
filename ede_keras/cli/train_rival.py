"""What `ede-train --method=NAME` does in place of training an EDE."""

import time
from pathlib import Path

from absl import flags

from ede_keras.choices import EDE
from ede_keras.cli import command
from ede_keras.cli.argument_flags import given_arguments
from ede_keras.rivals import Rival
from ede_keras.rivals.perceptual import Perceptual
from ede_keras.training.callbacks import CtrlC
from ede_keras.training.fit_rival import fit_rival, resolve_rival
from ede_keras.utils.files import read_csv

FLAGS = flags.FLAGS


def is_asked() -> bool:
    """Whether `--method` names a rival; an `InputError` for arguments that it does not have."""
    if FLAGS.method == EDE:
        return False
    resolve_rival(FLAGS.method, **given_arguments(FLAGS))
    return True


def resolve(image_shape: tuple[int, ...]) -> dict[str, object]:
    """All arguments of the method by name, those of its training among them.

    The model is built for that, so that what it cannot take is said before a folder is made.
    """
    rival, own, training = resolve_rival(FLAGS.method, **given_arguments(FLAGS))
    model = rival(image_shape, **own)
    config = model.get_config()
    del config["name"]  # of the Keras model; it has no flag
    if isinstance(model, Perceptual):
        backbone = model.backbone.identity
        config |= {"backbone": backbone["source"], "backbone_sha256": backbone["sha256"]}
        config |= {"backbone_size": model.seen_size}
    of_training = training._asdict() if rival.has_epochs else {}
    return {**config, **of_training, "variant": None}


def train(x_train, work: Path) -> tuple[Rival, float]:
    """Trains the method, from its last checkpoint if there is one.

    Args:
        x_train: Normal images.
        work: The run's folder.

    Returns:
        The model, and the seconds that it took.
    """
    began = time.perf_counter()
    checkpoints = work / "checkpoints"
    before = 0.0
    if (history := checkpoints / "history.csv").exists():
        before = sum(map(float, read_csv(history)["seconds"]))
    with CtrlC() as ctrl_c:
        model, _ = fit_rival(
            FLAGS.method,
            x_train,
            seed=FLAGS.seed,
            checkpoint_dir=checkpoints,
            callbacks=[ctrl_c],
            verbose=1 if command.bars() else 2 * (FLAGS.verbosity > command.QUIET),
            **given_arguments(FLAGS),
        )
    return model, round(before + time.perf_counter() - began, 3)
