"""Keras callbacks of the training command."""

import csv
import os
import time
from pathlib import Path

import keras

from ede_keras.files import atomic_path


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves the whole state after every epoch, so that a kill loses one epoch at the most.

    `last.keras` holds the weights, both optimizers' state and the epoch; `history.csv` has a line
    per epoch with the losses and the seconds it took. Each replaces the one before in one step.

    Args:
        directory: Folder to write to; made if missing. A history that lies there is continued.
        initial_epoch: Epochs trained before, whose lines are kept.
    """

    def __init__(self, directory, initial_epoch=0):
        super().__init__()
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.rows = self._read_history()[:initial_epoch]

    def _read_history(self):
        history = self.directory / "history.csv"
        if not history.exists():
            return []
        with open(history, newline="") as file:
            return list(csv.DictReader(file))

    @property
    def seconds(self):
        """Seconds that all epochs took, those before an interruption too."""
        return sum(float(row["seconds"]) for row in self.rows)

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self._began
        losses = {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch + 1, **losses, "seconds": round(seconds, 3)})
        # The history first: a line too many is cut when resuming, one too few is lost.
        with atomic_path(self.directory / "history.csv") as path, open(path, "w") as file:
            writer = csv.DictWriter(file, self.rows[-1], lineterminator=os.linesep)
            writer.writeheader()
            writer.writerows(self.rows)
        with atomic_path(self.directory / "last.keras") as path:
            self.model.save(path)
