"""Reads image files into arrays, each decoded as the exported model decodes it.

TensorFlow decodes PNG and JPEG. Pillow first converts to PNG all other formats, and files that
TensorFlow would decode differently from a viewer (EXIF orientation, CMYK).
"""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ede_keras.data.images import decoding
from ede_keras.data.images.conversion import convert_in_graph, make_decodable
from ede_keras.data.images.inspection import ImageFacts, inspect_image
from ede_keras.errors import UnreadableImage
from ede_keras.utils import pipeline, scratch
from ede_keras.utils.files import StrPath

# What white may be in files of 16 bits: cameras fill 8 to 16 of them.
WHITES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))
_decode_to_size = tf.function(decoding.decode_to_size)


def load_images(
    paths: Sequence[StrPath],
    image_shape: Sequence[int],
    verbose: int = 0,
    max_value: int = decoding.MAX_VALUE,
    facts: Sequence[ImageFacts] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes image files in parallel into one array on disk.

    Args:
        paths: The n files.
        image_shape: `(height, width, channels)` of the result, channels 1 or 3.
        verbose: 1 shows a progress bar, 0 does not.
        max_value: The value of white in PNG and TIFF files of 16 bits.
        facts: What `inspect_image` returns for each file, if it is known already.

    Returns:
        `(images, unread)`. `images` is a uint8 array `(m, height, width, channels)` on disk (see
        `scratch.store`), in the order of `paths`. `unread` is a bool array `(n,)`, true for files
        that have a problem or cannot be decoded; `images` does not include them.
    """
    return load_measured(paths, image_shape, verbose, max_value, facts)[:2]


def load_measured(
    paths: Sequence[StrPath],
    image_shape: Sequence[int],
    verbose: int = 0,
    max_value: int = decoding.MAX_VALUE,
    facts: Sequence[ImageFacts] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decodes image files as `load_images` does, and measures their pixels.

    Args:
        paths: As in `load_images`.
        image_shape: As in `load_images`.
        verbose: As in `load_images`.
        max_value: As in `load_images`.
        facts: As in `load_images`.

    Returns:
        `(images, unread, measured)`. `measured` is an int array `(m, 3)`, see
        `decoding.decode_measured`.
    """
    *size, channels = image_shape
    facts = [inspect_image(path) for path in paths] if facts is None else facts
    unread = np.array([bool(fact.problem) for fact in facts], bool)
    readable = np.flatnonzero(~unread).tolist()
    decoded = _map_files(
        [paths[i] for i in readable],
        [facts[i] for i in readable],
        lambda content: decoding.decode_measured(content, tuple(size), channels, max_value),
    )
    progress = keras.utils.Progbar(len(paths), verbose=verbose, unit_name="image")
    progress.add(int(unread.sum()))

    measured: list[np.ndarray] = []

    def generate_images() -> Iterator[np.ndarray]:
        for i, found in zip(readable, decoded, strict=True):
            unread[i] = found is None
            if found is not None:
                image, of_image = found
                measured.append(of_image)
                yield image
            progress.add(1)

    images = scratch.store(generate_images(), image_shape, np.uint8)
    return images, unread, np.array(measured, np.int64).reshape(-1, 3)


def find_highest(paths: Sequence[StrPath], facts: Sequence[ImageFacts]) -> int:
    """The highest pixel in the files that have 16 bits, without alpha; 0 if none has."""
    deep = [i for i, fact in enumerate(facts) if fact.bits == 16 and not fact.problem]
    found = _map_files(
        [paths[i] for i in deep],
        [facts[i] for i in deep],
        lambda content: decoding.find_range(tf.io.decode_png(content, dtype=tf.uint16))[1],
    )
    return max((int(value) for value in found if value is not None), default=0)


def find_white(place: StrPath, highest: int, max_value: int | None = None) -> int:
    """Finds the value of white in a set of images of more than 8 bits.

    Args:
        place: The set, for the warning if there are pixels above white.
        highest: Its highest pixel, at most 65535 unless `max_value` is given.
        max_value: The value of white, if it is known.

    Returns:
        `max_value`, or the smallest of 255, 1023, 4095, 16383 and 65535 that is not below
        `highest`: of 8, 10, 12, 14 and 16 bits.
    """
    white = max_value or next(white for white in WHITES if highest <= white)
    if highest > white:
        warnings.warn(
            f"Pixels in {place} go up to {highest}; those above {white} (set by --max_value or "
            "the run) are read as white.",
            stacklevel=5,
        )
    return white


def decode_content(
    content: bytes, image_shape: Sequence[int], max_value: int = decoding.MAX_VALUE
) -> np.ndarray:
    """Decodes the content of an image file as `load_images` decodes the file.

    Args:
        content: The content of the file.
        image_shape: `(height, width, channels)` of the result, channels 1 or 3.
        max_value: As in `load_images`.

    Returns:
        float32 array of shape `image_shape`, whole numbers in 0-255.

    Raises:
        UnreadableImage: The file has a problem, see `inspection.inspect_image`, or is damaged.
    """
    *size, channels = image_shape
    content = make_decodable(content)
    try:
        image = _decode_to_size(tf.constant(content), tf.constant(size), channels, max_value)
    except tf.errors.OpError as error:
        raise UnreadableImage("damaged") from error
    return image.numpy()


def read_checked(path: StrPath) -> bytes:
    """The content of an image file as a server decodes it, once it has been decoded here.

    Args:
        path: The file.

    Returns:
        The content, as `conversion.make_decodable` returns it.

    Raises:
        UnreadableImage: The file cannot be read.
    """
    facts = inspect_image(path)
    if facts.problem:
        raise UnreadableImage(facts.problem)
    content = make_decodable(Path(path).read_bytes(), facts)
    try:
        decoding.decode_pixels(tf.constant(content))
    except tf.errors.OpError as error:
        raise UnreadableImage("damaged") from error
    return content


def _map_files(
    paths: Sequence[StrPath],
    facts: Sequence[ImageFacts],
    function: Callable[[tf.Tensor], Any],
) -> Iterator[Any]:
    """Yields function(content) for each file, or None if it is damaged."""
    if not len(paths):  # TensorFlow cannot infer the type of an empty list
        return
    names = [os.fsencode(path) for path in paths]  # file names may not be valid UTF-8
    is_plain = [fact.is_plain for fact in facts]

    def read(name: tf.Tensor, is_plain: tf.Tensor) -> tf.Tensor:
        return tf.cond(is_plain, lambda: tf.io.read_file(name), lambda: convert_in_graph(name))

    def read_plain(name: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return tf.io.read_file(name)

    # Without Python code in the graph, the files are read in parallel.
    read_file = read_plain if all(is_plain) else read
    elements = tf.data.Dataset.from_tensor_slices((names, is_plain))
    mapped = elements.map(
        lambda name, is_plain: function(read_file(name, is_plain)),
        num_parallel_calls=os.cpu_count(),
    )
    results = pipeline.read_ahead(mapped).as_numpy_iterator()
    for _ in paths:
        try:
            yield next(results)
        except tf.errors.OpError:
            yield None
