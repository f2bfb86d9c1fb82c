"""Images to scores in an Apache Beam pipeline; one that cannot be scored becomes a dead letter."""

import os
import re
import shutil
import tempfile
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.io import fileio
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference

from ede_keras.data.images import files
from ede_keras.errors import InputError
from ede_keras.utils import pipeline

SIGNATURE = "serving_default"
# Of a reason: where in a graph, or in memory.
_PLACES = re.compile(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*| at 0x[0-9a-f]+")


class Score(NamedTuple):
    """The row of an image that was scored."""

    path: str
    score: float  # higher is more anomalous
    label: int  # 1 where the score is above the threshold
    threshold: float


class DeadLetter(NamedTuple):
    """The row of an image, or a file, that was not scored."""

    path: str
    reason: str


class ReadImages(beam.PTransform):
    """Patterns of image files to `(path, content)`.

    Takes a collection of patterns, such as "parts/**.png" with `*`, `**`, `?` and `[...]`, on any
    file system that Beam knows. A file that two of them match is read twice.

    Returns:
        `(contents, dead letters)`: collections of `(str, bytes)` and of `DeadLetter`.
    """

    def expand(self, patterns):
        contents, failed = _find_files(patterns) | beam.Map(_read_file).with_exception_handling()
        return contents, failed | beam.MapTuple(_bury_file)


class ReadExamples(beam.PTransform):
    """Patterns of TFRecord files of `tf.train.Example`s to `(path#n, content)`, n from 0 on.

    Of a file that is damaged the records before the damage are read; the rest is one dead letter,
    as is all of a compressed file that cannot be unpacked. Images in TIFF or WebP are not decoded.

    Args:
        feature: Name of the feature that holds an encoded image.

    Returns:
        `(contents, dead letters)`, as of `ReadImages`.
    """

    def __init__(self, feature):
        super().__init__()
        self.feature = feature

    def expand(self, patterns):
        # Partial: what came before the damage counts.
        read = beam.FlatMap(_read_records).with_exception_handling(partial=True)
        records, failed = _find_files(patterns) | read
        extract = beam.Map(_extract, self.feature).with_exception_handling()
        contents, unusable = records | extract
        buried = [failed | beam.MapTuple(_bury_file), unusable | "Bury" >> beam.MapTuple(_bury)]
        return contents, buried | beam.Flatten()


class ScoreImages(beam.PTransform):
    """Contents of image files, `(path, content)`, to their scores by an exported SavedModel.

    Each content is decoded as `evaluate.py` does a folder's: turned upright by its EXIF data,
    TIFF and WebP through Pillow if the path ends so.

    Args:
        model: A version that `export_savedmodel` made, a path on any file system of TensorFlow.
        batch_size: Images that are scored at once, at the most.

    Returns:
        `(scores, dead letters)`: collections of `Score` and of `DeadLetter`; each image is in one
        of them.

    Raises:
        InputError: There is no such SavedModel.

    Example:
        >>> with beam.Pipeline() as p:
        ...     contents, unread = p | beam.Create(["parts/**.png"]) | ReadImages()
        ...     scores, unscored = contents | ScoreImages("serving/ede/1")
    """

    def __init__(self, model, batch_size=64):
        super().__init__()
        self.model = resolve(str(model))
        self.batch_size = batch_size
        self.image_shape = find_image_shape(self.model)

    def expand(self, contents):
        decode = beam.Map(_decode, self.image_shape).with_exception_handling()
        images, undecoded = contents | "Decode" >> decode
        handler = KeyedModelHandler(SavedModelHandler(self.model, self.batch_size))
        scored, failed = images | RunInference(handler).with_exception_handling()
        buried = [
            undecoded | "Bury images" >> beam.MapTuple(_bury),
            failed.failed_inferences | "Bury batches" >> beam.FlatMapTuple(_bury_batch),
        ]
        scores = scored | "Rows" >> beam.MapTuple(_make_row).with_output_types(Score)
        return scores, buried | beam.Flatten()


class SavedModelHandler(ModelHandler):
    """Loads a SavedModel of ours, and scores batches of images `(height, width, channels)`.

    Beam's own handlers of TensorFlow's models load them by `keras.models.load_model`, which in
    Keras 3 reads no SavedModel, and need tensorflow-hub.
    """

    def __init__(self, model, batch_size):
        super().__init__(min_batch_size=batch_size, max_batch_size=batch_size)
        self.model = model

    def load_model(self):
        return tf.saved_model.load(self.model)

    def run_inference(self, batch, model, inference_args=None):
        del inference_args
        outputs = model.signatures[SIGNATURE](images=tf.constant(np.stack(batch)))
        columns = [outputs[name].numpy().tolist() for name in ("score", "label", "threshold")]
        return list(zip(*columns, strict=True))

    def get_num_bytes(self, batch):
        return sum(image.nbytes for image in batch)


def find_image_shape(model):
    """(height, width, channels) of the images that a SavedModel takes."""
    if not tf.saved_model.contains_saved_model(model):
        raise InputError(
            "The model must be a version that ede_keras.export wrote, a folder with "
            f"saved_model.pb. Received: {model}"
        )
    signatures = tf.saved_model.load(model).signatures
    if SIGNATURE not in signatures:
        raise InputError(f"The model has no signature {SIGNATURE}. Received: {model}")
    _, inputs = signatures[SIGNATURE].structured_input_signature
    return tuple(inputs["images"].shape[1:])


def resolve(path):
    """A local path as an absolute one, for Beam finds nothing by a pattern without a folder."""
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def _find_files(patterns):
    found = patterns | beam.Map(resolve) | fileio.MatchAll()
    # Or all that one pattern finds would stay with the worker that found it.
    return found | beam.Reshuffle() | fileio.ReadMatches()


def _read_file(file):
    with file.open() as stream:  # `read` leaves it open
        return _show_path(file.metadata.path), stream.read()


def _read_records(file):
    path = _show_path(file.metadata.path)
    # TensorFlow checks what it reads, but knows fewer file systems than Beam.
    with tempfile.NamedTemporaryFile() as copy:
        with file.open() as stream:
            shutil.copyfileobj(stream, copy)
        copy.flush()
        records = pipeline.read_ahead(tf.data.TFRecordDataset(copy.name))
        for n, record in enumerate(records.as_numpy_iterator()):
            yield f"{path}#{n}", record


def _extract(element, feature):
    path, record = element
    values = tf.train.Example.FromString(record).features.feature[feature].bytes_list.value
    if len(values) != 1:
        raise InputError(
            f"The feature {feature} must hold one encoded image. Received: {len(values)} values"
        )
    return path, values[0]


def _decode(element, image_shape):
    path, content = element
    return path, files.decode_content(content, path, image_shape)


def _make_row(path, outputs):
    return Score(path, *outputs)


# Dead letters. Beam's are (element, (type, representation, traceback)) of what was raised.


def _bury_file(file, error):
    return DeadLetter(_show_path(file.metadata.path), _name_reason(error))


def _bury(element, error):
    return DeadLetter(element[0], _name_reason(error))


def _bury_batch(batch, error):
    return [DeadLetter(path, _name_reason(error)) for path, _ in batch]


def _name_reason(error):
    kind, _, trace = error
    # TensorFlow's messages begin with the graph's history and end with its place.
    lines = _PLACES.sub("", trace[-1]).splitlines()
    last = next(line.strip() for line in reversed(lines) if line.strip())
    named = rf"^([\w.]+[.])?{kind.__name__}(: *|$)"
    return f"{kind.__name__}: {re.sub(named, '', last)}"


def _show_path(path):
    """A path as text, which names of files need not be."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
