"""The `tf.data` pipelines that feed images to training and scoring."""

import weakref
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ede_keras.utils.validation import warn_of_range

NO_WEIGHTS = (
    "Sample and class weights are not supported: every image counts equally. Leave them out."
)


def make_train_dataset(
    images: np.ndarray, batch_size: int, seed: int, initial_epoch: int = 0, min_steps: int = 1
) -> tuple[tf.data.Dataset, int]:
    """Makes an endless dataset of shuffled batches.

    The order of the images in an epoch depends only on the seed and the number of the epoch.
    Training that is resumed at an epoch therefore gets the same batches as training that was
    never interrupted. The images are not copied: an array on disk (`np.memmap`) is read batch by
    batch. All batches are full; each pass over the images leaves out those that do not fill a
    batch, and these differ from pass to pass.

    Args:
        images: Array `(n, height, width, channels)`, n at least 1.
        batch_size: Number of images per batch; n if that is smaller.
        seed: Seed of the shuffling.
        initial_epoch: Number of the first epoch, counted from 0 as in Keras.
        min_steps: Minimum number of batches per epoch. If the images make fewer batches, an epoch
            passes over them several times, each time in another order.

    Returns:
        `(dataset, steps_per_epoch)`, for `fit`. The batches have the images' dtype.

    Example:
        >>> dataset, steps = make_train_dataset(images, batch_size=64, seed=0)
        >>> model.fit(dataset, steps_per_epoch=steps, epochs=15)
    """
    n = len(images)
    batch_size = min(batch_size, n)
    steps = n // batch_size
    steps_per_epoch = count_steps(n, batch_size, min_steps)
    passes = steps_per_epoch // steps

    def make_batches(pass_number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(n), seed=[seed, pass_number])
        return tf.data.Dataset.from_tensor_slices(
            tf.reshape(order[: steps * batch_size], (steps, batch_size))
        )

    all_passes = tf.data.Dataset.counter(start=initial_epoch * passes)
    return _read(all_passes.flat_map(make_batches), images), steps_per_epoch


def count_steps(n: int, batch_size: int, min_steps: int) -> int:
    """The batches of an epoch, as `make_train_dataset` makes them of n images."""
    steps = n // min(batch_size, n)
    return steps * -(-min_steps // steps)  # whole passes, rounded up


def make_ordered_dataset(
    images: np.ndarray, batch_size: int, positions: npt.ArrayLike | None = None
) -> tf.data.Dataset:
    """Makes a dataset of batches in order, for `predict` or as `validation_data`.

    The images are not copied, as in `make_train_dataset`.

    Args:
        images: Array `(n, height, width, channels)`.
        batch_size: Number of images per batch. The last batch may have fewer.
        positions: Integer array `(m,)`, the positions of the images to take. Default: all images.

    Returns:
        `tf.data.Dataset` of batches that have the images' dtype.
    """
    positions = np.arange(len(images)) if positions is None else positions
    return _read(tf.data.Dataset.from_tensor_slices(positions).batch(batch_size), images)


def stream(images: Any, batch_size: int, shuffle: bool = False) -> Any:
    """Turns an array into a dataset of batches, and lets a dataset check its first batch.

    Keras would copy the array, and would use tf.data's autotuning (see `read_ahead`).

    Args:
        images: Array `(n, height, width, channels)` or, of features, `(n, length)`; or any other
            input of Keras's `fit`.
        batch_size: Number of images per batch. The last batch may have fewer.
        shuffle: Whether to take the images in another random order in each epoch.

    Returns:
        `tf.data.Dataset` for an array or a dataset, which warns if the pixels of its first batch
        are not in 0 to 255; else `images`.
    """
    if isinstance(images, tf.data.Dataset):
        return images if len(find_shape(images)) == 2 else _watch(images)
    if not isinstance(images, np.ndarray):
        return images
    if not shuffle:
        return make_ordered_dataset(images, batch_size)
    n = len(images)
    return _read(tf.data.Dataset.range(n).shuffle(n).batch(batch_size), images)


def take_batches(images: Any, most: int) -> Iterator[np.ndarray]:
    """The first images, at most so many, of a `tf.data.Dataset`, a `PyDataset` or a generator.

    They come batch by batch; no batch is read that is not needed.
    """
    is_sequence = isinstance(images, keras.utils.PyDataset)
    for batch in map(images.__getitem__, range(len(images))) if is_sequence else images:
        batch = np.asarray(take_images(batch))[:most]
        yield batch
        most -= len(batch)
        if most <= 0:
            return


def find_shape(images: Any) -> tuple[int | None, ...]:
    """The shape of an array, or of a data set's batches; `()` if it has none."""
    if isinstance(images, tf.data.Dataset):
        spec = images.element_spec
        spec = spec[0] if isinstance(spec, tuple) else spec
        rank = getattr(getattr(spec, "shape", None), "rank", None)
        return () if rank is None else tuple(spec.shape.as_list())
    shape = getattr(images, "shape", ())
    return tuple(shape) if isinstance(shape, tuple | list | tf.TensorShape) else ()


def _watch(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same elements; the first batch is checked as an array would be."""

    def warn(lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
        warn_of_range(float(lowest), float(highest))
        return lowest

    def check(number: tf.Tensor, element: Any) -> Any:
        first = tf.nest.flatten(element)[0]

        def check_first() -> tf.Tensor:
            pixels = tf.cast(first, tf.float32)
            bounds = tf.reduce_min(pixels), tf.reduce_max(pixels)
            return tf.numpy_function(warn, bounds, tf.float32, stateful=True)

        done = tf.cond(number == 0, check_first, lambda: 0.0)
        with tf.control_dependencies([done]):
            return tf.nest.map_structure(tf.identity, element)

    return dataset.enumerate().map(check)


def _read(positions: tf.data.Dataset, images: np.ndarray) -> tf.data.Dataset:
    """Replaces each batch of positions by the images at these positions."""
    images = np.asarray(images)
    dtype, shape = images.dtype, images.shape[1:]
    # TensorFlow never forgets a function in Python, so this one must not hold the images.
    weak = weakref.ref(images)

    def read(chosen: np.ndarray) -> np.ndarray:
        kept = weak()
        assert kept is not None  # the data set keeps it
        return kept[chosen]

    def gather(positions: tf.Tensor) -> tf.Tensor:
        batch = tf.numpy_function(read, [positions], dtype)
        batch.set_shape([*positions.shape, *shape])
        return batch

    mapped = positions.map(gather)
    mapped.images = images
    return read_ahead(mapped)


def read_ahead(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Prefetches two batches, without tf.data's autotuning.

    In TensorFlow 2.21 an autotuned iterator can take as long to close as it has run.

    Args:
        dataset: Any `tf.data.Dataset`.

    Returns:
        `tf.data.Dataset` with the same elements.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(2).with_options(options)


def take_images(data: Any) -> Any:
    """The images of a batch or of Keras' `validation_data`; labels are ignored.

    Raises:
        ValueError: There are sample weights.
    """
    x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if sample_weight is not None:
        raise ValueError(NO_WEIGHTS)
    return x


def as_float(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The images of a dataset as float32, without labels."""
    return dataset.map(lambda *data: tf.cast(take_images(data), "float32"))
