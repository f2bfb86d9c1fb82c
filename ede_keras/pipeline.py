"""Images to the `tf.data` pipeline that training reads."""

import tensorflow as tf


def make_train_dataset(images, batch_size, seed, initial_epoch=0):
    """Makes an endless data set of shuffled batches, epoch after epoch.

    The order of an epoch is a function of the seed and the epoch's number alone, so a run that
    is resumed at an epoch sees the very batches that an unbroken run sees. The images are held
    once, as they are stored; the few that do not fill a batch are left out of that epoch, others
    in each.

    Args:
        images: Array `(n, height, width, channels)`, n at least 1.
        batch_size: Images in a batch; n if that is smaller.
        seed: Integer.
        initial_epoch: Keras' number, from 0 on, of the epoch to begin with.

    Returns:
        `(dataset, steps_per_epoch)`, for `fit`. The batches have the images' dtype.

    Example:
        >>> dataset, steps = make_train_dataset(images, batch_size=64, seed=0)
        >>> model.fit(dataset, steps_per_epoch=steps, epochs=15)
    """
    n = len(images)
    batch_size = min(batch_size, n)
    steps = n // batch_size
    images = tf.constant(images)

    def batches_of(epoch):
        order = tf.random.experimental.stateless_shuffle(tf.range(n), seed=[seed, epoch])
        return tf.data.Dataset.from_tensor_slices(
            tf.reshape(order[: steps * batch_size], (steps, batch_size))
        )

    epochs = tf.data.Dataset.counter(start=initial_epoch)
    batches = epochs.flat_map(batches_of).map(lambda indices: tf.gather(images, indices))
    return batches.prefetch(tf.data.AUTOTUNE), steps
