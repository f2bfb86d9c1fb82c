"""Training by a recipe, in one call."""

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ede_keras.backbones.backbone import Backbone
from ede_keras.errors import InputError
from ede_keras.layers.image_sizes import check_shape
from ede_keras.layers.pretext import Pretext
from ede_keras.models.arguments import ADDED_LATER, EDEArguments, TrainingArguments
from ede_keras.models.ede import EDE
from ede_keras.models.parts import NETWORKS
from ede_keras.models.recipes import get_recipe
from ede_keras.training.callbacks import EpochCheckpoint, learning_rate_callbacks
from ede_keras.utils import devices
from ede_keras.utils.files import read_json, reading, write_json
from ede_keras.utils.pipeline import make_train_dataset
from ede_keras.utils.validation import check_images

START_AGAIN = "delete its folder to start again (in the command: --overwrite)"


def fit_recipe(
    recipe: str,
    x_train: np.ndarray,
    validation_data: Any = None,
    *,
    variant: type[EDE] = EDE,
    seed: int = 0,
    checkpoint_dir: str | Path | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    verbose: int | str = "auto",
    jit_compile: bool | str = "auto",
    strategy: tf.distribute.Strategy | None = None,
    **overrides: Any,
) -> tuple[EDE, keras.callbacks.History]:
    """Builds a model by a recipe and trains it on normal images; `ede-train` does the same.

    The model is not calibrated yet: call `model.calibrate(x_train, held_out=...)` next.

    Args:
        recipe: "default", "features", "default_no_pretext" or "paper".
        x_train: Normal images, `(n, height, width, 1 or 3)`, any numeric dtype, 0 to 255. An array
            on disk, `np.memmap`, is read batch by batch.
        validation_data: Held-out normal images, as `x_train`; their losses are reported.
        variant: `EDE`, or a subclass such as `TwinEDE`.
        seed: Seeds Keras, NumPy and Python, and the order of the batches: the same seed gives the
            same model, and on a CPU with op determinism the same bits.
        checkpoint_dir: A folder for `last.keras`, saved after every epoch, `history.csv` and
            `arguments.json`. If they exist already, training continues after the last complete
            epoch, with the networks that were saved. With the same images it ends with the same
            weights as an uninterrupted run.
        callbacks: Keras callbacks.
        verbose: As in `keras.Model.fit`.
        jit_compile: As in `EDE.compile`.
        strategy: The devices that share each batch. Defaults to the strategy whose scope the call
            is in, or to one device.
        **overrides: Fields of `EDEArguments` or `TrainingArguments` that replace the recipe's,
            for instance `epochs=2`; and networks, `encoder1=...` (see `EDE`).

    Returns:
        `(model, history)`: the trained model, and Keras' record of the losses.

    Raises:
        InputError: The recipe, an argument or the images cannot be used, or the training in
            `checkpoint_dir` was started with other arguments or another seed.

    Example:
        >>> model, history = fit_recipe("default", x_train, validation_data=x_val, seed=0)
        >>> model.calibrate(x_train, held_out=x_val)
    """
    if not isinstance(x_train, np.ndarray):
        raise InputError(
            f"`x_train` must be a NumPy array of images. Received: {type(x_train).__name__}"
        )
    image_shape, n_train = check_shape(x_train.shape[1:]), len(x_train)
    check_images(x_train, image_shape)
    own = {name: overrides.pop(name) for name in NETWORKS if name in overrides}
    arguments, training = get_recipe(
        recipe, image_shape, n_train, unused=variant.unused_arguments, **overrides
    )
    keras.utils.set_random_seed(seed)
    strategy = strategy or tf.distribute.get_strategy()
    is_chief = devices.is_chief(strategy)  # of several workers one writes
    last = None
    if checkpoint_dir is not None:
        last = Path(checkpoint_dir, "last.keras")
        asked = {"variant": variant.__name__, "seed": seed, **_plain(arguments, training)}
        # All workers stop if the chief refuses.
        devices.run_on_chief(strategy, lambda: check_or_note(last.parent, asked), [None])
    if last is not None and last.exists():
        with reading(last, START_AGAIN), strategy.scope():
            model = keras.saving.load_model(last)
        initial_epoch = int(model.epoch.numpy())
    else:
        with strategy.scope():
            model = variant(image_shape, **arguments.to_dict(), **own)
            model.compile(
                keras.optimizers.Adam(training.learning_rate, beta_1=training.beta_1),
                jit_compile=jit_compile,
                precision=training.precision,
            )
        initial_epoch = 0
    assert training.batch_size is not None  # the default by shape
    began = time.perf_counter()
    x_train = model.prepare_training(x_train, verbose)
    validation_data = model.extract_features(validation_data, verbose == 1)
    seconds_before = time.perf_counter() - began
    dataset, steps = make_train_dataset(
        x_train, training.batch_size, seed, initial_epoch, training.min_steps
    )
    # The learning rate comes before the checkpoint, whose history records it.
    first = learning_rate_callbacks(training)
    if checkpoint_dir is not None and is_chief:
        first.append(EpochCheckpoint(checkpoint_dir, initial_epoch, seconds_before))
    history = model.fit(
        dataset,
        steps_per_epoch=steps,
        initial_epoch=initial_epoch,
        epochs=training.epochs,
        validation_data=validation_data,
        validation_batch_size=training.batch_size,
        callbacks=[*first, *callbacks],
        verbose=verbose,
    )
    return model, history


def check_or_note(folder: Path, asked: Mapping[str, Any]) -> None:
    """Records the arguments of a training run; an `InputError` if others are recorded there.

    Args:
        folder: Where the run is; created if missing.
        asked: The arguments by name, as JSON knows them.
    """
    path = folder / "arguments.json"
    if not (folder / "last.keras").exists() or not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, asked)
        return
    with reading(path, START_AGAIN):
        found = {**ADDED_LATER, **read_json(path)}
    different = [
        f"{name} {found.get(name)!r} (now {asked[name]!r})"
        for name in asked
        if found.get(name) != asked[name]
    ]
    if different:
        raise InputError(
            f"{folder} holds a training run with other arguments: {', '.join(different)}. Choose "
            f"another folder, or {START_AGAIN}."
        )


def _plain(arguments: EDEArguments, training: TrainingArguments) -> dict[str, Any]:
    """All arguments but the epochs as JSON knows them; an own pretext as its class and config."""
    values = {**arguments.to_dict(), **training.to_dict()}
    del values["epochs"]  # a higher number continues the same training run
    if isinstance(backbone := values["backbone"], Backbone):
        values["backbone"] = backbone.identity
    pretext = values["pretext"]
    if isinstance(pretext, Pretext):
        config = {name: value for name, value in pretext.get_config().items() if name != "name"}
        values["pretext"] = {"class": type(pretext).__name__, **config}
    return json.loads(json.dumps(values, default=str))
