"""Image files that a server scores, one bad file not stopping the others."""

import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from ede_keras.cli import command
from ede_keras.data.images.files import read_checked
from ede_keras.errors import InputError, UnreadableImage
from ede_keras.serving.client import ScoringClient, join_batches


def find_problems(files: Sequence[Path]) -> dict[int, str]:
    """Why image files cannot be read, by their position."""
    return {i: reason for i, file in enumerate(files) if (reason := _try_to_read(file)[1])}


def _try_to_read(file):
    """`(content, "")` of an image file; or `(None, reason)` if it cannot be read."""
    try:
        return read_checked(file), ""
    except UnreadableImage as error:
        return None, str(error)


def score_batch(
    client: ScoringClient, files: Sequence[Path]
) -> tuple[dict[str, np.ndarray], dict[int, str]]:
    """Scores as many image files as one request takes.

    Args:
        client: The client of the server.
        files: The files.

    Returns:
        `(outputs, problems)`: the outputs of `ScoringClient.score` for the files that could be read
        and that the server accepted; and why the others were left out, by their position.
    """
    read = {i: _try_to_read(file) for i, file in enumerate(files)}
    problems = {i: reason for i, (_, reason) in read.items() if reason}
    contents = {i: content for i, (content, _) in read.items() if content is not None}
    if not contents:
        return join_batches([]), problems
    outputs, refused = client.score_contents(list(contents.values()))
    problems |= {i: refused[k] for k, i in enumerate(contents) if k in refused}
    return outputs, problems


def score_by_server(
    client: ScoringClient, files: Sequence[Path]
) -> tuple[tuple[np.ndarray, np.ndarray, float], float, dict[int, str]]:
    """Scores image files on a server. A bad file does not stop the others.

    A file is bad if it cannot be read, or if the server refuses it.

    Args:
        client: The client of the server.
        files: The files.

    Returns:
        `((scores, labels, images_per_second), threshold, problems)`; the threshold is the server's
        and the problems are why a file was left out, by its position.

    Raises:
        InputError: No file can be read, or the server refuses all of the first images.
    """
    progress = keras.utils.Progbar(len(files), verbose=command.bars(), unit_name="image")
    start = time.perf_counter()
    batches: list[dict] = []
    problems: dict[int, str] = {}
    for begin in range(0, len(files), client.batch_size):
        batch = files[begin : begin + client.batch_size]
        outputs, left_out = score_batch(client, batch)
        problems |= {begin + i: reason for i, reason in left_out.items()}
        refused = [i for i, reason in left_out.items() if reason.startswith("refused:")]
        if len(outputs["score"]):
            batches.append(outputs)
        elif refused and not batches:  # the images are hardly the cause
            raise InputError(
                "The server must accept at least one of the first images. Check that --model_name "
                f"is a model of this package. Received: {batch[refused[0]]} "
                f"({left_out[refused[0]]})"
            )
        progress.add(len(batch))
    if not batches:
        i, reason = next(iter(problems.items()))
        raise InputError(f"Expected images that can be read. Received: {files[i]} ({reason})")
    seconds = time.perf_counter() - start
    found = join_batches(batches)
    scored = found["score"], found["label"], round(len(found["score"]) / seconds, 1)
    return scored, float(found["threshold"][0]), problems
