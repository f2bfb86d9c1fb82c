"""Images to the `tf.data` pipelines that training and scoring read."""

import numpy as np
import tensorflow as tf


def make_train_dataset(images, batch_size, seed, initial_epoch=0, min_steps=1):
    """Makes an endless data set of shuffled batches, epoch after epoch.

    The order of an epoch is a function of the seed and the epoch's number alone, so a run that
    is resumed at an epoch sees the very batches that an unbroken run sees. The images are not
    copied: an array on disk, `np.memmap`, is read batch by batch. The few that do not fill a
    batch are left out of that pass, others in each.

    Args:
        images: Array `(n, height, width, channels)`, n at least 1.
        batch_size: Images in a batch; n if that is smaller.
        seed: Integer.
        initial_epoch: Keras' number, from 0 on, of the epoch to begin with.
        min_steps: Batches that an epoch has at the least: one of a small set passes over its
            images more than once, each time in another order.

    Returns:
        `(dataset, steps_per_epoch)`, for `fit`. The batches have the images' dtype.

    Example:
        >>> dataset, steps = make_train_dataset(images, batch_size=64, seed=0)
        >>> model.fit(dataset, steps_per_epoch=steps, epochs=15)
    """
    n = len(images)
    batch_size = min(batch_size, n)
    steps = n // batch_size
    passes = -(-min_steps // steps)  # rounded up

    def batches_of(one_pass):
        order = tf.random.experimental.stateless_shuffle(tf.range(n), seed=[seed, one_pass])
        return tf.data.Dataset.from_tensor_slices(
            tf.reshape(order[: steps * batch_size], (steps, batch_size))
        )

    all_passes = tf.data.Dataset.counter(start=initial_epoch * passes)
    return _read(all_passes.flat_map(batches_of), images), steps * passes


def make_ordered_dataset(images, batch_size, positions=None):
    """Makes a data set of batches in order, for `predict` or as `validation_data`; like
    `make_train_dataset` it copies no images.

    Args:
        images: Array `(n, height, width, channels)`.
        batch_size: Images in a batch, the last one perhaps smaller.
        positions: Which images, by default all.
    """
    positions = np.arange(len(images)) if positions is None else positions
    return _read(tf.data.Dataset.from_tensor_slices(positions).batch(batch_size), images)


def stream(images, batch_size, shuffle=False):
    """An array as a data set of batches, in order or in another one in each epoch; anything else
    as it is. Keras would copy the array, and its own data sets are autotuned, see
    `read_ahead`."""
    if not isinstance(images, np.ndarray):
        return images
    if not shuffle:
        return make_ordered_dataset(images, batch_size)
    n = len(images)
    return _read(tf.data.Dataset.range(n).shuffle(n).batch(batch_size), images)


def _read(positions, images):
    """The images of each batch of positions, read while another batch is worked on."""
    images = np.asarray(images)

    def gather(positions):
        batch = tf.numpy_function(lambda chosen: images[chosen], [positions], images.dtype)
        batch.set_shape([*positions.shape, *images.shape[1:]])
        return batch

    return read_ahead(positions.map(gather))


def read_ahead(dataset):
    """A data set that works ahead of its reader, without tf.data's autotuning, which may sleep in
    an iterator's end for as long as the iterator has run (TensorFlow 2.21)."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(2).with_options(options)
