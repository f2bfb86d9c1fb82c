"""Images to the `tf.data` pipeline that training reads."""

import tensorflow as tf


def make_train_dataset(images, batch_size, seed, initial_epoch=0, min_steps=1):
    """Makes an endless data set of shuffled batches, epoch after epoch.

    The order of an epoch is a function of the seed and the epoch's number alone, so a run that
    is resumed at an epoch sees the very batches that an unbroken run sees. The images are held
    once, as they are stored; the few that do not fill a batch are left out of that pass, others
    in each.

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
    images = tf.constant(images)

    def batches_of(one_pass):
        order = tf.random.experimental.stateless_shuffle(tf.range(n), seed=[seed, one_pass])
        return tf.data.Dataset.from_tensor_slices(
            tf.reshape(order[: steps * batch_size], (steps, batch_size))
        )

    all_passes = tf.data.Dataset.counter(start=initial_epoch * passes)
    batches = all_passes.flat_map(batches_of).map(lambda indices: tf.gather(images, indices))
    return batches.prefetch(tf.data.AUTOTUNE), steps * passes
