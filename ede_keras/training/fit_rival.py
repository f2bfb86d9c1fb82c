"""Training of another method in one call, as `fit_recipe` trains an EDE."""

import dataclasses
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ede_keras.backbones.backbone import Backbone
from ede_keras.errors import InputError
from ede_keras.layers.image_sizes import check_shape
from ede_keras.models.arguments import TrainingArguments
from ede_keras.rivals import RIVALS, Rival, Training
from ede_keras.training.callbacks import EpochCheckpoint
from ede_keras.training.fit_recipe import START_AGAIN, check_or_note
from ede_keras.utils.arguments import check_argument
from ede_keras.utils.checks import check_choice
from ede_keras.utils.files import reading
from ede_keras.utils.pipeline import count_steps, make_train_dataset
from ede_keras.utils.validation import check_images

# Arguments of a constructor that are no settings of the method.
NO_SETTINGS = ("image_shape", "name")


def resolve_rival(method: str, **arguments: Any) -> tuple[type[Rival], dict[str, Any], Training]:
    """A rival's class, the arguments of its constructor, and how it is trained.

    Args:
        method: One of `RIVALS`.
        **arguments: Those that replace the method's own.

    Raises:
        InputError: The method does not exist, has no such argument, or one is out of range.
    """
    check_choice("method", method, RIVALS)
    rival = RIVALS[method]
    own = [name for name in inspect.signature(rival).parameters if name not in NO_SETTINGS]
    trained = list(Training._fields) if rival.has_epochs else []
    for name in arguments:
        if name not in (*own, *trained):
            raise InputError(
                f"{rival.__name__} has no argument `{name}`, which has no effect on it: leave it "
                f"out. It takes {', '.join([*own, *trained])}. Received: {name}={arguments[name]!r}"
            )
    training = rival.training._replace(**{n: v for n, v in arguments.items() if n in trained})
    for field in dataclasses.fields(TrainingArguments):
        if field.name in trained:
            check_argument(field, getattr(training, field.name))
    return rival, {n: v for n, v in arguments.items() if n in own}, training


def fit_rival(
    method: str,
    x_train: np.ndarray,
    *,
    seed: int = 0,
    checkpoint_dir: str | Path | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
    **arguments: Any,
) -> tuple[Rival, keras.callbacks.History]:
    """Builds another method and trains it on normal images, as `ede-train --method=NAME` does.

    Args:
        method: One of `RIVALS`, for instance "vae".
        x_train: Normal images, as for `fit_recipe`.
        seed: As for `fit_recipe`.
        checkpoint_dir: As for `fit_recipe`. A method without epochs has nothing to resume.
        callbacks: Keras callbacks; not used by a method without epochs.
        verbose: As in `keras.Model.fit`.
        **arguments: Those of the method's class, and the fields of `Training`.

    Returns:
        `(model, history)`. The model is not calibrated yet.

    Raises:
        InputError: The method, an argument or the images cannot be used.

    Example:
        >>> model, history = fit_rival("vae", x_train, epochs=10)
        >>> model.calibrate(x_train, held_out=x_val)
    """
    if not isinstance(x_train, np.ndarray):
        raise InputError(
            f"`x_train` must be a NumPy array of images. Received: {type(x_train).__name__}"
        )
    rival, own, training = resolve_rival(method, **arguments)
    check_images(x_train, check_shape(x_train.shape[1:]))
    keras.utils.set_random_seed(seed)
    more, model, initial_epoch = list(callbacks), None, 0
    if checkpoint_dir is not None and rival.has_epochs:
        last = Path(checkpoint_dir, "last.keras")
        asked = {"method": method, "seed": seed, **own, **training._asdict()}
        del asked["epochs"]  # a higher number continues the same training
        if isinstance(backbone := own.get("backbone"), Backbone):
            asked["backbone"] = backbone.identity
        check_or_note(last.parent, asked)
        if last.exists():
            with reading(last, START_AGAIN):
                model = keras.saving.load_model(last)
            # The history may be an epoch ahead of the model, if the run was killed between them.
            initial_epoch = int(model.optimizer.iterations.numpy()) // count_steps(
                len(x_train), training.batch_size, training.min_steps
            )
        more.insert(0, EpochCheckpoint(checkpoint_dir, initial_epoch))
    if model is None:
        model = rival(x_train.shape[1:], **own)
        model.compile(
            model.make_optimizer(learning_rate=training.learning_rate, beta_1=training.beta_1)
        )
    if not rival.has_epochs:
        return model, model.fit(x_train, callbacks=more)
    dataset, steps = make_train_dataset(
        x_train, training.batch_size, seed, initial_epoch, training.min_steps
    )
    history = model.fit(
        dataset,
        steps_per_epoch=steps,
        initial_epoch=initial_epoch,
        epochs=training.epochs,
        callbacks=more,
        verbose=verbose,
    )
    return model, history
