"""Run folders: where a training run lies, what state it is in, and how it gets there whole."""

import os
import shutil
from pathlib import Path

import keras

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.errors import InputError
from ede_keras.utils.files import read_json, reading, write_json

CONFIG, METRICS, MODEL = "config.json", "metrics.json", "model.keras"
TRAIN_AGAIN = "train the run again"


class RunFolder:
    """The folder `<output_dir>/<dataset>/<normal>/<seed>` of one training run.

    The run is written in a sibling folder, `<seed>.unfinished`, and renamed at its end: the
    folder itself is always a finished run, or not there.

    Args:
        output_dir: Folder of all runs; "~" is the home.
        config: The run's `config.json`, a flat dict with `dataset`, `normal` and `seed`.
    """

    def __init__(self, output_dir, config):
        self.config = config
        inside = Path(config["dataset"], str(config["normal"]), str(config["seed"]))
        self.final = Path(output_dir).expanduser() / inside
        self.work = self.final.with_name(self.final.name + ".unfinished")
        self._old = self.final.with_name(self.final.name + ".old")

    def begin(self, resume=False, overwrite=False):
        """Prepares the working folder.

        Args:
            resume: Goes on with an unfinished run of the same config, if there is one.
            overwrite: Begins anew whatever is there; a finished run stays until the new one is.

        Returns:
            "new"; "resumed"; or "finished", where `resume` found nothing left to do.

        Raises:
            InputError: An unfinished run, a run of another config, or another process is in the
                way.
        """
        if (self.work / CONFIG).exists():
            self._lock()
        self._recover()
        if overwrite:
            shutil.rmtree(self.work, ignore_errors=True)
        elif self.work.exists():
            self._check_config(self.work)
            if resume:
                return "resumed"
            raise InputError(
                f"{self.work} holds an unfinished run of this config. Go on with it by --resume, "
                "or begin anew by --overwrite."
            )
        elif self.final.exists():
            self._check_config(self.final)
            if resume:
                return "finished"
        self.work.mkdir(parents=True)
        write_json(self.work / CONFIG, self.config)
        self._lock()
        return "new"

    def _lock(self):
        """Keeps other processes out of the working folder until this one ends, however it ends."""
        if fcntl is None:
            return
        # Stays open: a closed file is no longer locked.
        config = os.open(self.work / CONFIG, os.O_RDWR)
        try:
            fcntl.lockf(config, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise InputError(
                f"Another process is training in {self.work}. Wait for its end, or choose another "
                "--output_dir."
            ) from error

    def finish(self):
        """Puts the finished run into its place, and the one before it away."""
        if self.final.exists():
            os.rename(self.final, self._old)
        os.rename(self.work, self.final)
        shutil.rmtree(self._old, ignore_errors=True)

    def _recover(self):
        """Ends what a kill within `finish` left undone."""
        if self._old.exists() and not self.final.exists():
            os.rename(self._old, self.final)
        shutil.rmtree(self._old, ignore_errors=True)
        # A run folder without metrics was not finished by this program.
        unfinished = (self.final / CONFIG).exists() and not (self.final / METRICS).exists()
        if unfinished and not self.work.exists():
            os.rename(self.final, self.work)
        # Killed before its first file: there is nothing to go on with.
        if self.work.exists() and not (self.work / CONFIG).exists():
            shutil.rmtree(self.work)

    def _check_config(self, folder):
        try:
            found = read_json(folder / CONFIG)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{folder} is there, but its {CONFIG} cannot be read ({error}). Choose another "
                "--output_dir, or replace it by --overwrite."
            ) from error
        different = [
            f"{key} {found.get(key)!r} (now {self.config.get(key)!r})"
            for key in sorted({*found, *self.config})
            if found.get(key) != self.config.get(key)
        ]
        if different:
            raise InputError(
                f"{folder} holds a run of another config: {', '.join(different)}. Choose another "
                "--output_dir, or replace it by --overwrite."
            )


def load_run(run_dir):
    """The config, metrics and model of a finished run, whose folder is a `Path`."""
    readers = {CONFIG: read_json, METRICS: read_json, MODEL: keras.saving.load_model}
    found = []
    for name, read in readers.items():
        if not (run_dir / name).exists():
            raise InputError(
                f"Expected --run_dir to be the folder of a finished run, with {CONFIG}, {METRICS} "
                f"and {MODEL}. Received: {run_dir}, without {name}"
            )
        with reading(run_dir / name, TRAIN_AGAIN):
            found.append(read(run_dir / name))
    return found


def load_split(config, data_dir, image_shape):
    """The images of a run, split as it was.

    Args:
        config: The run's `config.json`.
        data_dir: Where a built-in set lies now; None: where it lay.
        image_shape: The model's.

    Returns:
        A `protocols.Split`.

    Raises:
        InputError: The images are not where they lay.
    """
    path = config["dataset_path"]
    if path and not os.path.exists(path):
        raise InputError(
            f"The run's images must lie where they lay when it was trained; move them back, or "
            f"score all that are in their new place by --dataset. Received: no {path}"
        )
    dataset = path or config["dataset"]
    data_dir = data_dir or config["data_dir"]
    dataset = load_dataset(dataset, data_dir, image_shape, layout=config.get("layout"))
    return make_split(dataset, config["protocol"], config["normal"], config["seed"])
