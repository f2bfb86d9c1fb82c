"""Beam transforms from images to scores. An image that cannot be scored becomes a dead letter."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.io import fileio
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference

from ede_keras.data.images import files
from ede_keras.data.images.decoding import MAX_VALUE
from ede_keras.errors import InputError, UnreadableImage
from ede_keras.serving.savedmodel import DECODING
from ede_keras.utils import pipeline
from ede_keras.utils.files import StrPath
from ede_keras.utils.messages import find_last_line

SIGNATURE = "serving_default"

# Score, label and threshold of an image.
Outputs = tuple[float, int, float]


class Score(NamedTuple):
    """The score of an image.

    Args:
        path: Path of the image.
        score: Higher means more anomalous.
        label: 1 if the score is above the threshold, else 0.
        threshold: The model's threshold.
    """

    path: str
    score: float
    label: int
    threshold: float


class DeadLetter(NamedTuple):
    """An image or a file that could not be scored.

    Args:
        path: Path of the image or file.
        reason: Why it cannot be read, as in a folder's `left_out.csv`; or the type and message of
            another error, in one line.
    """

    path: str
    reason: str


class ReadImages(beam.PTransform):
    """Reads image files, from a collection of file patterns.

    A pattern, such as "parts/**.png", may contain `*`, `**`, `?` and `[...]`, and name any file
    system that Beam supports. A file that matches two patterns is read twice.

    Returns:
        `(contents, dead_letters)`: a collection of `(path, content)`, `str` and `bytes`, and a
        collection of `DeadLetter`.
    """

    def expand(self, patterns: beam.PCollection):
        """Adds the transform to the pipeline."""
        contents, failed = _match_files(patterns) | beam.Map(_read_file).with_exception_handling()
        return contents, failed | beam.MapTuple(_file_to_dead_letter)


class ReadExamples(beam.PTransform):
    """Reads TFRecord files of `tf.train.Example`s, from a collection of file patterns.

    If a file is damaged, the records before the damage are read and the rest becomes one dead
    letter. A damaged compressed file becomes one dead letter.

    Args:
        feature: Name of the feature that holds the encoded image.

    Returns:
        `(contents, dead_letters)`, as in `ReadImages`. The path of a record is "path#n", where n
        counts the records of the file from 0.
    """

    def __init__(self, feature: str):
        super().__init__()
        self.feature = feature

    def expand(self, patterns: beam.PCollection):
        """Adds the transform to the pipeline."""
        # `partial` keeps the records before the damage.
        read = beam.FlatMap(_read_records).with_exception_handling(partial=True)
        records, failed = _match_files(patterns) | read
        extract = beam.Map(_extract_image, self.feature).with_exception_handling()
        contents, unusable = records | extract
        dead_letters = [
            failed | "Damaged files" >> beam.MapTuple(_file_to_dead_letter),
            unusable | "Unusable records" >> beam.MapTuple(_image_to_dead_letter),
        ]
        return contents, dead_letters | beam.Flatten()


class ScoreImages(beam.PTransform):
    """Scores the contents of image files, a collection of `(path, content)`.

    Each image is decoded as `evaluate.py` decodes the images of a folder.

    Args:
        model: Folder of a version that `export_savedmodel` wrote, on any file system that
            TensorFlow supports.
        batch_size: Largest number of images in a batch. Defaults to 64.

    Returns:
        `(scores, dead_letters)`: a collection of `Score` and a collection of `DeadLetter`. Each
        image is in exactly one of them.

    Raises:
        InputError: The folder holds no SavedModel, or not one of `export_savedmodel`.

    Example:
        >>> with beam.Pipeline() as p:
        ...     contents, unread = p | beam.Create(["parts/**.png"]) | ReadImages()
        ...     scores, unscored = contents | ScoreImages("serving/ede/1")
    """

    def __init__(self, model: StrPath, batch_size: int = 64):
        super().__init__()
        self.model = resolve(str(model))
        self.batch_size = batch_size
        self.image_shape = read_image_shape(self.model)
        self.max_value = read_max_value(self.model)

    def expand(self, contents: beam.PCollection):
        """Adds the transform to the pipeline."""
        decode = beam.Map(_decode, self.image_shape, self.max_value).with_exception_handling()
        images, undecoded = contents | "Decode" >> decode
        handler: KeyedModelHandler[str, np.ndarray, Outputs, Any] = KeyedModelHandler(
            SavedModelHandler(self.model, self.batch_size)
        )
        scored, failed = images | RunInference(handler).with_exception_handling()
        dead_letters = [
            undecoded | "Undecoded images" >> beam.MapTuple(_image_to_dead_letter),
            failed.failed_inferences
            | "Failed batches" >> beam.FlatMapTuple(_batch_to_dead_letters),
        ]
        scores = scored | "Rows" >> beam.MapTuple(_make_row).with_output_types(Score)
        return scores, dead_letters | beam.Flatten()


class SavedModelHandler(ModelHandler[np.ndarray, Outputs, Any]):
    """Loads an exported SavedModel, and scores batches of images `(height, width, channels)`.

    Beam's own handlers for TensorFlow need tensorflow-hub, and load a model by
    `keras.models.load_model`, which cannot read a SavedModel in Keras 3.

    Args:
        model: Folder of the SavedModel.
        batch_size: Number of images in a batch; the last batch may be smaller.
    """

    def __init__(self, model: str, batch_size: int):
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)
        self.model = model

    def load_model(self) -> Any:
        """Loads the SavedModel."""
        return tf.saved_model.load(self.model)

    def run_inference(
        self, batch: Sequence[np.ndarray], model: Any, inference_args: dict | None = None
    ) -> list[Outputs]:
        """Scores a batch of float32 images; returns score, label and threshold of each."""
        del inference_args
        outputs = model.signatures[SIGNATURE](images=tf.constant(np.stack(batch)))
        columns = [outputs[name].numpy().tolist() for name in ("score", "label", "threshold")]
        return list(zip(*columns, strict=True))

    def get_num_bytes(self, batch: Sequence[np.ndarray]) -> int:
        """Returns the size of a batch, for Beam's metrics."""
        return sum(image.nbytes for image in batch)


def read_image_shape(model: str) -> tuple[int, int, int]:
    """Reads `(height, width, channels)` of the images that a SavedModel expects.

    Args:
        model: Folder of a version that `export_savedmodel` wrote.

    Returns:
        The shape.

    Raises:
        InputError: The folder holds no SavedModel, or not one of `export_savedmodel`.
    """
    if not tf.saved_model.contains_saved_model(model):
        raise InputError(
            "The model must be a version that ede_keras.export wrote, a folder with "
            f"saved_model.pb. Received: {model}"
        )
    signatures = tf.saved_model.load(model).signatures
    if SIGNATURE not in signatures:
        raise InputError(f"The model must have a signature {SIGNATURE}. Received: {model}")
    _, inputs = signatures[SIGNATURE].structured_input_signature
    height, width, channels = inputs["images"].shape[1:]
    return height, width, channels


def read_max_value(model: str) -> int:
    """Reads the value of white in files of 16 bits that a SavedModel expects."""
    path = os.path.join(model, "assets.extra", DECODING)
    if not tf.io.gfile.exists(path):  # exported by 0.1
        return MAX_VALUE
    with tf.io.gfile.GFile(path) as file:
        return json.load(file)["max_value"]


def resolve(path: str) -> str:
    """Makes a local path absolute, because Beam finds nothing for a pattern without a folder."""
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def _match_files(patterns):
    matches = patterns | beam.Map(resolve) | fileio.MatchAll()
    # Without the reshuffle, one worker would process all files of a pattern.
    return matches | beam.Reshuffle() | fileio.ReadMatches()


# Beam reads the annotations of the following functions as its own type hints: they have none.


def _read_file(file):
    with file.open() as stream:  # `file.read` would leave it open
        return _to_text(file.metadata.path), stream.read()


def _read_records(file):
    path = _to_text(file.metadata.path)
    # TensorFlow checks the records, but supports fewer file systems than Beam: read a local copy.
    with tempfile.NamedTemporaryFile() as copy:
        with file.open() as stream:
            shutil.copyfileobj(stream, copy)
        copy.flush()
        records = pipeline.read_ahead(tf.data.TFRecordDataset(copy.name))
        for n, record in enumerate(records.as_numpy_iterator()):
            yield f"{path}#{n}", record


def _extract_image(element, feature):
    path, record = element
    values = tf.train.Example.FromString(record).features.feature[feature].bytes_list.value
    if len(values) != 1:
        raise InputError(
            f"The feature {feature} must hold one encoded image. Received: {len(values)} values"
        )
    return path, values[0]


def _decode(element, image_shape, max_value):
    path, content = element
    return path, files.decode_content(content, image_shape, max_value)


def _make_row(path, outputs):
    return Score(path, *outputs)


def _file_to_dead_letter(file, failure):
    return DeadLetter(_to_text(file.metadata.path), _describe(failure))


def _image_to_dead_letter(element, failure):
    return DeadLetter(element[0], _describe(failure))


def _batch_to_dead_letters(batch, failure):
    return [DeadLetter(path, _describe(failure)) for path, _ in batch]


def _describe(failure):
    """Type and message of a failure, in one line; for an unreadable image only the reason."""
    kind, _, trace = failure  # type, representation and traceback, as Beam gives them
    prefix = rf"^([\w.]+[.])?{kind.__name__}(: *|$)"
    message = re.sub(prefix, "", find_last_line(trace[-1]))
    return message if kind is UnreadableImage else f"{kind.__name__}: {message}"


def _to_text(path: str) -> str:
    """Escapes the bytes of a file name that are not valid UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
