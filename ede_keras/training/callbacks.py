"""Keras callbacks of `fit`, of the recipes and of the training command."""

import signal
import time
from pathlib import Path

import keras

from ede_keras.utils.files import atomic_path, read_csv, reading, write_csv


def cosine_decay(learning_rate, epochs):
    """A callback for `fit`: the learning rate falls along half a cosine, epoch by epoch.

    Args:
        learning_rate: That of the first epoch; after the last one it would be 0.
        epochs: All epochs of the training, as `fit` is given them.
    """
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs)
    return keras.callbacks.LearningRateScheduler(lambda epoch: float(schedule(epoch)))


def learning_rate_callbacks(training):
    """What `fit` needs for a recipe's learning rate, a list; of `recipes.get_recipe`'s training
    arguments."""
    if not training["cosine_decay"]:
        return []
    return [cosine_decay(training["learning_rate"], training["epochs"])]


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves the whole state after every epoch, so that a kill loses one epoch at the most.

    `last.keras` holds the weights, both optimizers' state and the epoch; `history.csv` has a line
    per epoch with the losses and the seconds it took. Each replaces the one before in one step.

    Args:
        directory: Folder to write to; made if missing. A history that lies there is continued.
        initial_epoch: Epochs trained before, whose lines are kept.

    Attributes:
        seconds: What all epochs took, those before an interruption too.

    Raises:
        InputError: The history is damaged.
    """

    def __init__(self, directory, initial_epoch=0):
        super().__init__()
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        for aside in self.directory.glob(".*"):
            aside.unlink()  # what a kill left half written
        self.rows = []
        self.seconds = 0.0
        history = self.directory / "history.csv"
        if history.exists():
            with reading(history, "begin anew by --overwrite"):
                columns = read_csv(history)
                rows = zip(*columns.values(), strict=True)
                self.rows = [dict(zip(columns, row, strict=True)) for row in rows][:initial_epoch]
                self.seconds = sum(float(row["seconds"]) for row in self.rows)

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = round(time.perf_counter() - self._began, 3)
        self.seconds += seconds
        losses = {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch + 1, **losses, "seconds": seconds})
        # The history first: a line too many is cut when resuming, one too few is lost.
        columns = {name: [row[name] for row in self.rows] for name in self.rows[-1]}
        write_csv(self.directory / "history.csv", columns)
        with atomic_path(self.directory / "last.keras") as path:
            self.model.save(path)


class CtrlC(keras.callbacks.Callback):
    """Ends training after Ctrl-C, by `KeyboardInterrupt`, even if Python lost that.

    Python raises it wherever the main thread happens to be, and drops it again if that is a
    destructor or a function that C calls. A context manager: within it Ctrl-C does what it does
    elsewhere and is remembered as well, and the batch that runs is the last. Where Ctrl-C is
    ignored, as in a shell's background job, it stays so.
    """

    pressed = False

    def __enter__(self):
        self._handler = signal.getsignal(signal.SIGINT)
        if self._handler is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._remember)
        return self

    def __exit__(self, *exception):
        signal.signal(signal.SIGINT, self._handler)

    def _remember(self, signum, frame):
        self.pressed = True
        self._handler(signum, frame)

    def on_train_batch_end(self, batch, logs=None):
        if self.pressed:
            raise KeyboardInterrupt
