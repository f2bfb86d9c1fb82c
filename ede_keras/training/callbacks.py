"""Keras callbacks for `fit`, for recipes and for the training command."""

import signal
import time
from pathlib import Path

import keras

from ede_keras.models.arguments import TrainingArguments
from ede_keras.utils.files import atomic_path, read_csv, reading, write_csv


def cosine_decay(learning_rate: float, epochs: int) -> keras.callbacks.LearningRateScheduler:
    """A callback for `fit` that lowers the learning rate along half a cosine, epoch by epoch.

    Args:
        learning_rate: The rate of the first epoch. After the last one it would be 0.
        epochs: The number of epochs, as given to `fit`.
    """
    # By epochs and not, as an optimizer's schedule, by steps: EDE2's optimizer copies the rate.
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs)
    return keras.callbacks.LearningRateScheduler(lambda epoch: float(schedule(epoch)))


def learning_rate_callbacks(training: TrainingArguments) -> list[keras.callbacks.Callback]:
    """The callbacks that `fit` needs for a recipe's learning rate."""
    if not training.cosine_decay:
        return []
    return [cosine_decay(training.learning_rate, training.epochs)]


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves the whole state after every epoch, so that a kill loses at most one epoch.

    `last.keras` holds the weights, both optimizers' state and the epoch; `history.csv` has a line
    per epoch with the losses and the seconds it took. Each file is replaced in one step.

    Args:
        directory: Folder to write to; created if missing. An existing history in it is continued.
        initial_epoch: Number of epochs trained before, whose lines are kept.
        seconds_before: Seconds that a backbone's features took before `fit`. They count to the
            first epoch.

    Attributes:
        seconds: Seconds that all epochs took, including those before an interruption.

    Raises:
        InputError: The history is damaged.
    """

    def __init__(self, directory: str | Path, initial_epoch: int = 0, seconds_before: float = 0.0):
        super().__init__()
        self.seconds_before = seconds_before
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        for pattern in (".last.*.keras", ".history.*.csv"):
            for aside in self.directory.glob(pattern):
                aside.unlink()  # half-written by a killed run
        self.rows = []
        self.seconds = 0.0
        history = self.directory / "history.csv"
        if history.exists():
            with reading(history, "delete its folder to start again (in the command: --overwrite)"):
                columns = read_csv(history)
                rows = zip(*columns.values(), strict=True)
                self.rows = [dict(zip(columns, row, strict=True)) for row in rows][:initial_epoch]
                self.seconds = sum(float(row["seconds"]) for row in self.rows)

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter() - self.seconds_before
        self.seconds_before = 0.0

    def on_epoch_end(self, epoch, logs=None):
        seconds = round(time.perf_counter() - self._began, 3)
        self.seconds += seconds
        losses = {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch + 1, **losses, "seconds": seconds})
        # The history first: resuming cuts a line too many, but cannot add a missing one.
        columns = {name: [row[name] for row in self.rows] for name in self.rows[-1]}
        write_csv(self.directory / "history.csv", columns)
        with atomic_path(self.directory / "last.keras") as path:
            self.model.save(path)


class CtrlC(keras.callbacks.Callback):
    """Ends training after Ctrl-C with a `KeyboardInterrupt`, even if Python drops that exception.

    Python raises it wherever the main thread happens to be, and drops it if that is a destructor
    or a callback from C. Use it as a context manager around `fit`: Ctrl-C works as usual, is
    recorded as well, and training ends after the current batch at the latest. Where Ctrl-C is
    ignored, as in a shell's background job, it stays ignored.
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
        signal.default_int_handler(signum, frame)

    def on_train_batch_end(self, batch, logs=None):
        if self.pressed:
            raise KeyboardInterrupt
