"""Run folders: where a training run is stored, and how it gets there completely."""

import glob
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from ede_keras.data.datasets import load_dataset
from ede_keras.data.images.decoding import MAX_VALUE
from ede_keras.data.protocols import Split, make_split
from ede_keras.errors import InputError
from ede_keras.models.arguments import ADDED_LATER
from ede_keras.models.detector import AnomalyDetector
from ede_keras.utils.files import StrPath, lock, read_csv, read_json, reading, write_json

CONFIG, METRICS, MODEL, SCORES = "config.json", "metrics.json", "model.keras", "scores.csv"
TRAIN_AGAIN = "train the run again"
UNFINISHED, OLD = ".unfinished", ".old"

T = TypeVar("T")


class RunFolder:
    """The folder `<output_dir>/<dataset>/<normal>/<name>` of one training run.

    The name is the config's `run_name`, or its seed. The run is written to a folder beside it,
    `<name>.unfinished`, which is renamed at the end. So if the folder itself exists, it holds a
    finished run.

    Args:
        output_dir: Folder of all runs; "~" is the home folder.
        config: The run's `config.json`, a flat dict with `dataset`, `normal`, `seed` and, if the
            run has a name, `run_name`.

    Example:
        >>> run = RunFolder("runs", {"dataset": "digits", "normal": 2, "seed": 0})
        >>> run.begin()
        'new'
        >>> model.save(run.work / "model.keras")
        >>> run.finish()
        >>> run.final
        PosixPath('runs/digits/2/0')
    """

    def __init__(self, output_dir: StrPath, config: Mapping[str, Any]):
        self.config = config
        name = config.get("run_name") or str(config["seed"])
        inside = Path(config["dataset"], str(config["normal"]), name)
        self.final = Path(output_dir).expanduser() / inside
        self.work = self.final.with_name(name + UNFINISHED)
        self._old = self.final.with_name(name + OLD)

    def begin(self, resume: bool = False, overwrite: bool = False) -> str:
        """Prepares the working folder.

        Args:
            resume: Continue an unfinished run with the same config, if there is one.
            overwrite: Start again, whatever run exists. A finished run is kept until the new run
                is finished.

        Returns:
            "new"; "resumed"; or "finished" if `resume` found a finished run.

        Raises:
            InputError: There is an unfinished run or a run with another config, or another
                process uses the folder.
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
                "The folder must not hold an unfinished run. Continue the run with --resume, or "
                f"start again with --overwrite. Received: {self.work}"
            )
        elif self.final.exists():
            self._check_config(self.final)
            if resume:
                return "finished"
        self.work.mkdir(parents=True)
        write_json(self.work / CONFIG, self.config)
        self._lock()
        return "new"

    def _lock(self) -> None:
        """Locks the working folder against other processes until this process ends."""
        # Never closed, because closing the file would release the lock.
        lock(
            os.open(self.work / CONFIG, os.O_RDWR),
            "Another process is training in this folder. Wait until it ends, or choose another "
            f"--output_dir. Received: {self.work}",
        )

    def finish(self) -> None:
        """Moves the finished run to its place, and deletes the previous one, which it prints."""
        replaced = self.final.exists()
        if replaced:
            os.rename(self.final, self._old)
        os.rename(self.work, self.final)
        if replaced:
            print(f"Replaced the earlier run in {self.final}{_describe_auroc(self._old)}")
        shutil.rmtree(self._old, ignore_errors=True)

    def _recover(self) -> None:
        """Repairs the state left by a process that was killed."""
        if self._old.exists() and not self.final.exists():
            os.rename(self._old, self.final)
        shutil.rmtree(self._old, ignore_errors=True)
        # A folder with a config and no metrics is an unfinished run.
        unfinished = (self.final / CONFIG).exists() and not (self.final / METRICS).exists()
        if unfinished and not self.work.exists():
            os.rename(self.final, self.work)
        # Killed before the first file was written: there is nothing to continue.
        if self.work.exists() and not (self.work / CONFIG).exists():
            shutil.rmtree(self.work)

    def _check_config(self, folder: Path) -> None:
        try:
            earlier = {key: ADDED_LATER[key] for key in ADDED_LATER if key in self.config}
            found = {**earlier, **read_json(folder / CONFIG)}
        except (OSError, ValueError) as error:
            raise InputError(
                f"{folder} exists, but its {CONFIG} cannot be read. Choose another --output_dir, "
                f"or replace the folder with --overwrite. Received: {error}"
            ) from error
        different = [
            f"{key} {found.get(key)!r} (now {self.config.get(key)!r})"
            for key in sorted({*found, *self.config})
            if found.get(key) != self.config.get(key)
        ]
        if different:
            raise InputError(
                f"{folder} holds a run with another config: {', '.join(different)}. Name this one "
                "with --run_name, choose another --output_dir, or replace the run with --overwrite."
            )


def check_run_name(name: str | None) -> None:
    """Checks the name of a run, which becomes that of its folder; None is no name.

    Raises:
        InputError: It is no plain name of a folder, or ends like a folder that is not the run's
            final one.
    """
    if name is None:
        return
    if name.strip() in ("", ".", "..") or {"/", "\\"} & {*name} or name.endswith((UNFINISHED, OLD)):
        raise InputError(
            "`run_name` must be the name of a folder, without / and \\, and must not end in "
            f"{UNFINISHED} or {OLD}; choose another, such as wide. Received: {name!r}"
        )


def _describe_auroc(run_dir: Path) -> str:
    """The end of a sentence about a run: its AUROC if it has one."""
    try:
        return f"; its AUROC was {read_json(run_dir / METRICS)['auroc']:.4f}"
    except (OSError, ValueError, TypeError, KeyError):  # no labels, damaged, or no run at all
        return ""


def load_run(run_dir: Path) -> tuple[dict[str, Any], dict[str, Any], AnomalyDetector]:
    """Loads a finished run.

    Args:
        run_dir: Folder of the run.

    Returns:
        `(config, metrics, model)`.

    Raises:
        InputError: A file is missing or damaged.
    """

    def read(name: str, reader: Callable[[Path], T]) -> T:
        if not (run_dir / name).exists():
            raise InputError(
                f"Expected --run_dir to be the folder of a finished run, with {CONFIG}, {METRICS} "
                f"and {MODEL}. Received: {run_dir}, without {name}"
            )
        with reading(run_dir / name, TRAIN_AGAIN):
            return reader(run_dir / name)

    return read(CONFIG, read_json), read(METRICS, read_json), read(MODEL, keras.saving.load_model)


def read_calibration(run_dir: Path, n_val: int) -> dict[str, np.ndarray]:
    """The terms of a run's held-out images, float32 `(n_val,)` by name, as `calibrate` gave them.

    Raises:
        InputError: The run's `calibration.csv` is damaged.
    """
    path = run_dir / "calibration.csv"
    with reading(path, TRAIN_AGAIN):
        terms = {name: np.array(column, "float32") for name, column in read_csv(path).items()}
        n = len(next(iter(terms.values())))
        if n != n_val:
            raise ValueError(f"terms of {n} images, not of {n_val}")
    return terms


def load_split(
    config: Mapping[str, Any], data_dir: str | None, image_shape: Sequence[int]
) -> Split:
    """Loads the images of a run, split as in the run.

    Args:
        config: The run's `config.json`.
        data_dir: Folder of a built-in data set. None if it has not moved since the run.
        image_shape: `(height, width, channels)` of the model's images.

    Returns:
        The images.

    Raises:
        InputError: The images have moved.
    """
    path = config["dataset_path"]
    if path and not os.path.exists(path) and not glob.has_magic(path):
        raise InputError(
            "The images of the run must be where they were in training. Move them back, or score "
            f"the images in their new place with --dataset. Received: no {path}"
        )
    dataset = load_dataset(
        path or config["dataset"],
        # 0.1 kept a flag --data_dir that had no effect on a path.
        data_dir or (None if path else config["data_dir"]),
        image_shape,
        layout=config.get("layout"),
        normal=config.get("named_normal"),
        max_value=config.get("max_value"),
    )
    return make_split(dataset, config["protocol"], config["normal"], config["seed"])


def find_white_for(config: Mapping[str, Any], dataset: str) -> int | None:
    """The value of white in other images than the run's; None if it is found in an array.

    A run on 8 bits has no such value. Files of 16 bits are then read as its export reads them, so
    that the score of one does not depend on the others. A server receives no stored arrays.

    Args:
        config: The run's `config.json`.
        dataset: The name or path of the images.

    Returns:
        The value.
    """
    if white := config.get("max_value"):
        return white
    return None if dataset.lower().endswith(".npz") else MAX_VALUE
