"""What a backbone gives of an image."""

import keras
import numpy as np
import pytest
from makers import make_backbone

from ede_keras.backbones.backbone import Backbone, choose_maps
from ede_keras.errors import InputError


def test_the_maps_of_scaled_pixels():
    network = choose_maps(make_backbone())
    backbone = Backbone(network, mean=10.0, scale=4.0)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype("float32")
    maps = backbone(pixels)
    assert [m.shape for m in maps] == [(2, 4, 6, 6), (2, 2, 3, 5), (2, 2, 3, 8)]
    for found, expected in zip(maps, network((pixels - 10) / 4), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert backbone.compute_output_shape(pixels.shape) == [m.shape for m in maps]
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(backbone))
    again.set_weights(backbone.get_weights())
    np.testing.assert_array_equal(again(pixels)[0], maps[0])


def test_the_last_sum_of_a_stride_counts():
    """What follows a sum may belong to the next block, as in MobileNet."""
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 16, strides=16)(images)
    x = total = keras.layers.Add()([x, x])
    x = keras.layers.Conv2D(16, 1)(x)
    x = keras.layers.Conv2D(6, 2, strides=2)(x)
    network = choose_maps(keras.Model(images, x))
    assert network.outputs[0] is total
    assert [tensor.shape[-1] for tensor in network.outputs] == [4, 6]
    x = keras.layers.Add()([x, x])
    x = keras.layers.Conv2D(7, 1)(x)
    network = choose_maps(keras.Model(images, x))
    assert [tensor.shape[-1] for tensor in network.outputs] == [4, 6, 7]


def grey():
    images = keras.Input((None, None, 1))
    return keras.Model(images, keras.layers.Conv2D(3, 8, strides=8)(images))


def coarse_only():
    images = keras.Input((None, None, 3))
    return keras.Model(images, keras.layers.Conv2D(3, 32, strides=32)(images))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (grey, r"RGB images of any size.*None, None, 1"),
        (coarse_only, "no map of stride 16"),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), "functional keras.Model"),
    ],
)
def test_a_network_that_is_no_backbone(make, said):
    with pytest.raises(InputError, match=said):
        choose_maps(make())
