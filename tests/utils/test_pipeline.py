import gc
import re
import warnings
import weakref
from itertools import chain

import keras
import numpy as np
import pytest
import tensorflow as tf

from ede_keras.utils.pipeline import (
    make_ordered_dataset,
    make_train_dataset,
    stream,
    take_batches,
)

IMAGES = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)


def epochs(n_epochs, batch_size=3, **kwargs):
    """Lists the numbers of the images, one list per epoch."""
    dataset, steps = make_train_dataset(IMAGES, batch_size, **kwargs)
    batches = [batch.numpy() for batch in dataset.take(n_epochs * steps)]
    assert all(batch.dtype == np.uint8 and batch.shape[1:] == (1, 1, 1) for batch in batches)
    flat = [batch.ravel().tolist() for batch in batches]
    return [list(chain(*flat[i : i + steps])) for i in range(0, len(flat), steps)]


def test_an_epoch_holds_an_image_once():
    for order in epochs(5, seed=0):
        assert len(order) == len(set(order)) == 9


def test_every_image_is_seen_in_the_end():
    assert set(chain(*epochs(8, seed=0))) == set(range(10))


def test_order_is_a_function_of_seed_and_epoch():
    whole = epochs(6, seed=3)
    assert epochs(6, seed=3) == whole
    assert epochs(2, seed=3, initial_epoch=4) == whole[4:]
    assert epochs(6, seed=4) != whole
    assert len({tuple(order) for order in whole}) == 6


@pytest.mark.parametrize("batch_size", [10, 64])
def test_a_batch_is_at_most_all_images(batch_size):
    assert [sorted(order) for order in epochs(2, batch_size, seed=0)] == [list(range(10))] * 2


def test_an_epoch_of_few_images_is_several_passes():
    _, steps = make_train_dataset(IMAGES, 3, seed=0, min_steps=7)
    assert steps == 9  # three whole passes of three batches
    (epoch,) = epochs(1, seed=0, min_steps=7)
    assert [epoch[i : i + 9] for i in (0, 9, 18)] == epochs(3, seed=0)
    assert epochs(1, seed=0, min_steps=7, initial_epoch=1) == epochs(2, seed=0, min_steps=7)[1:]


def test_streamed_arrays():
    batches = [batch.numpy() for batch in stream(IMAGES, 4)]
    assert [len(batch) for batch in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(batches), IMAGES)
    shuffled = stream(IMAGES, 4, shuffle=True)
    orders = [[int(i) for batch in shuffled for i in batch.numpy().ravel()] for _ in range(3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_the_first_batch_of_a_dataset_is_checked():
    """And its elements stay what they are, in the same order."""
    pixels = np.arange(10, dtype=np.uint16).reshape(10, 1, 1, 1)
    for low, high, said in ((0, 255, None), (0, 256, "is 256.*255"), (-1, 5, "is -1"), (0, 1, "1")):
        batch = np.linspace(low, high, 4, dtype="float32").reshape(4, 1, 1, 1)
        made = tf.data.Dataset.from_tensors((batch, pixels[:4])).repeat(3)
        watched = stream(made, 4)
        assert int(watched.cardinality()) == 3 and watched.element_spec == made.element_spec
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = list(watched)
        for images, labels in found:
            np.testing.assert_array_equal(images, batch)
            np.testing.assert_array_equal(labels, pixels[:4])
        messages = [str(warning.message) for warning in caught]
        assert len(messages) == (said is not None)
        assert said is None or re.search(said, messages[0])


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return IMAGES[3 * i : 3 * i + 3]


def test_the_first_images_and_no_batch_more():
    read = []

    def batches():
        for i in range(3):
            read.append(i)
            yield IMAGES[3 * i : 3 * i + 3]

    assert [batch.ravel().tolist() for batch in take_batches(batches(), 4)] == [[0, 1, 2], [3]]
    assert read == [0, 1]
    assert [len(batch) for batch in take_batches(batches(), 6)] == [3, 3]
    assert read == [0, 1, 0, 1]
    assert [len(batch) for batch in take_batches(batches(), 99)] == [3, 3, 3]
    assert [batch.shape for batch in take_batches(Batches(), 4)] == [(3, 1, 1, 1), (1, 1, 1, 1)]
    without_end = tf.data.Dataset.from_tensor_slices(IMAGES).batch(4).repeat()
    assert [len(batch) for batch in take_batches(without_end, 11)] == [4, 4, 2, 1]


def test_no_iterator_is_autotuned():
    """Closing an autotuned iterator can take as long as it has run."""
    made = make_train_dataset(IMAGES, 4, seed=0)[0], make_ordered_dataset(IMAGES, 4)
    assert [dataset.options().autotune.enabled for dataset in made] == [False, False]


def test_images_are_freed_once_they_are_read(build, images):
    """TensorFlow keeps every function in Python for good; the images must not be kept with it."""
    model = build()
    model.set_threshold(0)
    copies = [images[:20].copy() for _ in range(3)]
    freed = [weakref.ref(copy) for copy in copies]
    model.predict(copies[0], verbose=0)
    model.fit(copies[1], verbose=0)
    ordered = make_ordered_dataset(copies[2], 4, np.arange(10))
    np.testing.assert_array_equal(np.concatenate(list(ordered)), images[:10])
    copies.clear()
    del ordered
    gc.collect()
    assert [ref() for ref in freed] == [None] * 3
