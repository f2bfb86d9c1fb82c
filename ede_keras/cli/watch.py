"""Scores the images that arrive in a folder, each once: `ede-evaluate --watch=FOLDER`."""

import csv
import functools
import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from ede_keras.cli.maps import Mapped, Pictures, write_map
from ede_keras.cli.server_scoring import score_batch
from ede_keras.errors import InputError, UnreadableImage
from ede_keras.evaluation.score_images import read_files
from ede_keras.models.detector import AnomalyDetector
from ede_keras.serving.client import ScoringClient
from ede_keras.utils.files import lock

COLUMNS = ("path", "modified_ns", "bytes", "score", "label", "threshold", "problem")
# Seconds from one look at the folder to the next.
PAUSE = 0.5
BATCH_SIZE = 64

# The time of a file's last change in ns, and its size in bytes: together they tell a new file from
# one that was scored.
State = tuple[int, int]


class Scored(NamedTuple):
    """What became of some files.

    Args:
        scores: float32 `(n,)`, of the files without a problem, in order.
        labels: int32 `(n,)`.
        threshold: The threshold of the score.
        problems: Why the other files could not be scored, by their position.
    """

    scores: np.ndarray
    labels: np.ndarray
    threshold: float
    problems: Mapping[int, str]


class WatchLog:
    """The CSV file with a line for each file that was scored, or could not be.

    Lines are added as files arrive. After a stop of any kind the next process goes on behind the
    last whole line.

    Args:
        path: The CSV file.

    Raises:
        InputError: The file is another one, or another process writes to it.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file = open(path, "a+b")  # noqa: SIM115  closed by `close`
        try:
            lock(
                self._file,
                "Another process watches with this file. Stop it, or choose another "
                f"--output_dir. Received: {path}",
            )
            self.seen: dict[str, State] = self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file, so that another process may write to it."""
        self._file.close()

    def _read(self):
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # killed, or the disk was full, within a line
            self._file.truncate(len(whole))
        if not whole:
            self._write([COLUMNS])
            return {}
        rows = csv.reader(io.StringIO(whole.decode(errors="surrogateescape"), newline=""))
        if tuple(next(rows)) != COLUMNS:
            raise InputError(
                f"Expected a file with the columns {', '.join(COLUMNS)}, to go on with. Move it, "
                f"or choose another --output_dir. Received: {self.path}"
            )
        return {path: (int(modified), int(size)) for path, modified, size, *_ in rows}

    def _write(self, rows):
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode(errors="surrogateescape"))
        self._file.flush()
        os.fsync(self._file.fileno())

    def add(self, files: Mapping[str, State], scored: Scored) -> None:
        """Adds a line for each file.

        Args:
            files: Each file's path, relative to the folder, and its state when it was scored.
            scored: What became of them.
        """
        results = iter(zip(scored.scores, scored.labels, strict=True))
        rows: list[tuple] = []
        for i, (path, state) in enumerate(files.items()):
            if i in scored.problems:
                rows.append((path, *state, "", "", "", scored.problems[i]))
            else:
                rows.append((path, *state, *next(results), scored.threshold, ""))
        self._write(rows)
        self.seen |= files

    def forget(self, present: Mapping[str, State]) -> None:
        """Keeps in memory only files that are still there: a line camera makes millions."""
        self.seen = {path: state for path, state in self.seen.items() if path in present}


def watch_by_model(
    folder: Path,
    output_dir: Path,
    model: AnomalyDetector,
    max_value: int,
    pictures: Pictures | None = None,
) -> None:
    """Watches a folder with the model of a run.

    Args:
        folder: The folder.
        output_dir: Where the results go.
        model: A calibrated model.
        max_value: The value of white in files of 16 bits.
        pictures: Where pictures of anomalous images go; None for no pictures.
    """

    def score(files: Sequence[Path]) -> Scored:
        images, _, problems = read_files(files, model.image_shape, max_value)
        if not len(images):
            return Scored(np.empty(0, "float32"), np.empty(0, "int32"), 0.0, problems)
        found = model.predict(images, verbose=0)
        return Scored(found["score"], found["label"], model.threshold, problems)

    def compute(path: Path) -> tuple[np.ndarray, float]:
        images, _, problems = read_files([path], model.image_shape, max_value)
        if problems:
            raise UnreadableImage(problems[0])
        return model.compute_maps(images)[0], model.pixel_threshold

    _watch_into_file(folder, output_dir, score, pictures, compute)


def watch_by_server(
    folder: Path,
    output_dir: Path,
    address: str,
    model_name: str,
    pictures: Pictures | None = None,
) -> None:
    """Watches a folder with the model of a server; see `watch_by_model`."""
    with ScoringClient(address, model_name, batch_size=BATCH_SIZE) as client:

        def score(files: Sequence[Path]) -> Scored:
            found, problems = score_batch(client, files)
            threshold = float(found["threshold"][0]) if len(found["threshold"]) else 0.0
            return Scored(found["score"], found["label"], threshold, problems)

        def compute(path: Path) -> tuple[np.ndarray, float]:
            found = client.compute_maps([path])
            return found["anomaly_map"][0], float(found["pixel_threshold"][0])

        _watch_into_file(folder, output_dir, score, pictures, compute)


def _watch_into_file(folder, output_dir, score, pictures, compute):
    """Watches a folder; the results go into a file of the output folder."""
    folder = folder.expanduser()
    look(folder)  # is it there?
    if pictures and pictures.folder.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            "The pictures would be scored as images that arrive: choose a folder for --maps "
            f"outside of --watch. Received: {pictures.folder}"
        )

    def draw(name: str, path: Path) -> None:
        values, pixel_threshold = compute(path)
        image = Mapped(name, path, values)
        write_map(pictures.folder, image, pixel_threshold, pictures.raw, pictures.max_value)

    with WatchLog(output_dir / f"watch-{folder.resolve().name}.csv") as log:
        print(f"Watching {folder}; results go to {log.path}. Stop with Ctrl+C.", flush=True)
        show = functools.partial(print, flush=True)
        watch(folder, log, score, show, draw if pictures else None)


def watch(
    folder: Path,
    log: WatchLog,
    score: Callable[[Sequence[Path]], Scored],
    show: Callable[[str], Any] = print,
    draw: Callable[[str, Path], None] | None = None,
) -> None:
    """Scores the files of a folder, and those that arrive, until Ctrl+C.

    A file is scored when it did not change from one look to the next. Hidden files are skipped. A
    file that is written again is a new one.

    Args:
        folder: The folder; its subfolders count.
        log: Where the results go.
        score: Scores some files.
        show: Prints a line.
        draw: Writes the picture of an anomalous image, given its path relative to the folder and
            its path. A picture is written before the line of its image: after a stop between the
            two it is written again.
    """
    n_scored = n_anomalous = 0
    before: dict[str, State] = {}
    try:
        while True:
            present = look(folder)
            log.forget(present)
            new = {path: state for path, state in present.items() if log.seen.get(path) != state}
            ready = [path for path, state in new.items() if before.get(path) == state]
            for start in range(0, len(ready), BATCH_SIZE):
                files = {path: new[path] for path in ready[start : start + BATCH_SIZE]}
                try:
                    scored = score([folder / path for path in files])
                    if draw:
                        _draw_anomalous(folder, list(files), scored, draw, show)
                except (ConnectionError, TimeoutError) as error:
                    show(f"  waiting for the server: {error}")
                    break
                log.add(files, scored)
                n_scored += len(scored.scores)
                n_anomalous += int(scored.labels.sum())
                _tell(list(files), scored, show)
            before = new
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        show(f"\n{n_scored} images scored, {n_anomalous} anomalous: {log.path}")


def _draw_anomalous(folder, files, scored, draw, show):
    """Writes the pictures; an image that has gone since has none."""
    for file, _ in _find_anomalous(files, scored):
        try:
            draw(file, folder / file)
        except (UnreadableImage, FileNotFoundError) as error:
            show(f"  {'':>10}  no picture {file}: {error}")


def _find_anomalous(files, scored):
    """`(file, score)` of the anomalous images."""
    kept = [file for i, file in enumerate(files) if i not in scored.problems]
    triples = zip(kept, scored.scores, scored.labels, strict=True)
    return [(file, value) for file, value, label in triples if label]


def _tell(files, scored, show):
    """Prints the anomalous images and the files with a problem."""
    for file, value in _find_anomalous(files, scored):
        show(f"  {value:>10.4g}  anomalous  {file}")
    for i, problem in scored.problems.items():
        show(f"  {'':>10}  not read   {files[i]}: {problem}")


def look(folder: Path) -> dict[str, State]:
    """The files in a folder and its subfolders, sorted by path, and their states.

    Raises:
        InputError: The folder is gone.
    """
    if not folder.is_dir():
        raise InputError(f"Expected a folder to watch. Received: {folder}")
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            try:
                status = path.stat()
            except OSError:  # gone since, or a broken link
                continue
            if not name.startswith(".") and path.is_file():
                relative = path.relative_to(folder).as_posix()
                found[relative] = (status.st_mtime_ns, status.st_size)
    return dict(sorted(found.items()))
