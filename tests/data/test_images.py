import numpy as np
import pytest
import tensorflow as tf
from makers import make_images

from ede_keras.data.images.decoding import decode_image
from ede_keras.errors import InputError

COLOUR = make_images([3], (8, 6, 3))[0]
GREY = make_images([3], (8, 6, 1))[0]


@pytest.mark.parametrize("eager", [True, False])
def test_png_of_the_right_shape_is_exact(eager):
    decode = decode_image if eager else tf.function(decode_image, input_signature=None)
    for image in (COLOUR, GREY):
        found = decode(tf.io.encode_png(image), image.shape)
        assert found.shape == image.shape
        assert found.dtype == tf.float32
        np.testing.assert_array_equal(found, image)


def test_traces_without_knowing_the_file():
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def serve(encoded):
        return decode_image(encoded, (8, 6, 3))

    assert serve.get_concrete_function().structured_outputs.shape == (8, 6, 3)
    np.testing.assert_array_equal(serve(tf.io.encode_png(COLOUR)), COLOUR)
    np.testing.assert_array_equal(serve(tf.io.encode_png(GREY)), np.repeat(GREY, 3, -1))


def test_colour_to_grey_is_luma():
    found = decode_image(tf.io.encode_png(COLOUR), GREY.shape)
    luma = np.round(COLOUR @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_allclose(found[..., 0], luma, atol=1)
    assert np.mean(found[..., 0] != luma) < 0.05  # only where the rounding is a close call


@pytest.mark.parametrize("value", range(0, 256, 15))
def test_grey_stays_the_same_grey(value):
    image = np.full((4, 4, 3), value, np.uint8)
    np.testing.assert_array_equal(decode_image(tf.io.encode_png(image), (4, 4, 1)), image[..., :1])


@pytest.mark.parametrize(("channels", "alpha_of"), [(2, GREY), (4, COLOUR)])
def test_alpha_is_dropped(channels, alpha_of):
    image = np.concatenate([alpha_of, np.full((8, 6, 1), 7, np.uint8)], -1)
    assert image.shape[-1] == channels
    found = decode_image(tf.io.encode_png(image), alpha_of.shape)
    np.testing.assert_array_equal(found, alpha_of)


def test_resizing_is_antialiased():
    stripes = np.tile(np.array([0, 255], np.uint8), (32, 16))[..., None]
    small = decode_image(tf.io.encode_png(stripes), (8, 8, 1)).numpy()
    assert np.ptp(small[:, 1:-1]) <= 2
    assert abs(small.mean() - 127.5) < 2
    np.testing.assert_array_equal(small, np.round(small))


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_wrong_channels(channels):
    with pytest.raises(InputError, match="1 or 3 channels. Received: "):
        decode_image(tf.io.encode_png(COLOUR), (8, 8, channels))
