import numpy as np
import pytest
import tensorflow as tf
from makers import make_images, write_image

from ede_keras.errors import InputError
from ede_keras.images import all_grey, decode_image, list_images, load_images

# The smallest GIF: one pixel, palette (255, 255, 255), (0, 0, 0), the pixel is colour 0.
GIF = bytes.fromhex("47494638396101000100800000ffffff0000002c00000000010001000002024401003b")
COLOUR = make_images([3], (8, 6, 3))[0]
GREY = make_images([3], (8, 6, 1))[0]


@pytest.mark.parametrize("eager", [True, False])
def test_png_of_the_right_shape_is_exact(eager):
    decode = decode_image if eager else tf.function(decode_image, input_signature=None)
    for image in (COLOUR, GREY):
        found = decode(tf.io.encode_png(image), image.shape)
        assert found.shape == image.shape and found.dtype == tf.float32
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


def test_jpeg_bmp_and_gif(tmp_path):
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    bmp = write_image(tmp_path / "a.bmp", smooth)
    jpg = write_image(tmp_path / "a.jpg", smooth)
    (tmp_path / "a.gif").write_bytes(GIF)
    found = load_images([bmp, jpg, tmp_path / "a.gif"], (16, 16, 3))
    np.testing.assert_array_equal(found[0], smooth)
    np.testing.assert_allclose(found[1].astype(int), smooth, atol=4)
    np.testing.assert_array_equal(found[2], np.full((16, 16, 3), 255))
    assert load_images([bmp, tmp_path / "a.gif"], (4, 4, 1)).shape == (2, 4, 4, 1)


def test_resizing_is_antialiased():
    stripes = np.tile(np.array([0, 255], np.uint8), (32, 16))[..., None]
    small = decode_image(tf.io.encode_png(stripes), (8, 8, 1)).numpy()
    assert np.ptp(small[:, 1:-1]) <= 2 and abs(small.mean() - 127.5) < 2
    np.testing.assert_array_equal(small, np.round(small))


def test_load_images_is_what_the_graph_sees(tmp_path):
    images = make_images(range(5), (20, 13, 3))
    paths = [write_image(tmp_path / f"{i}.png", image) for i, image in enumerate(images)]
    found = load_images(paths, (8, 8, 1))
    assert found.dtype == np.uint8
    for path, image in zip(paths, found, strict=True):
        np.testing.assert_array_equal(decode_image(path.read_bytes(), (8, 8, 1)), image)
    assert load_images([], (8, 8, 1)).shape == (0, 8, 8, 1)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_wrong_channels(channels):
    with pytest.raises(InputError, match="1 or 3 channels. Received: "):
        decode_image(tf.io.encode_png(COLOUR), (8, 8, channels))


@pytest.mark.parametrize("content", [b"", b"not an image", None, "cut"])
@pytest.mark.parametrize("position", [0, 3])
def test_unreadable_image_is_named(tmp_path, content, position):
    paths = [write_image(tmp_path / f"{i}.png", COLOUR) for i in range(5)]
    bad = paths[position]
    if content is None:
        bad.unlink()
    else:
        bad.write_bytes(bad.read_bytes()[:80] if content == "cut" else content)
    for function in (lambda: load_images(paths, (8, 6, 3)), lambda: all_grey([bad])):
        with pytest.raises(InputError, match=f"Received: .*{position}.png"):
            function()


def test_all_grey(tmp_path):
    grey = write_image(tmp_path / "grey.png", GREY)
    jpeg = write_image(tmp_path / "grey.jpg", GREY)
    alpha = write_image(tmp_path / "alpha.png", np.repeat(GREY, 2, -1))
    colour = write_image(tmp_path / "colour.png", COLOUR)
    assert all_grey([grey, jpeg, alpha])
    assert not all_grey([grey, colour])
    assert not all_grey([write_image(tmp_path / "a.bmp", COLOUR)])


def test_list_images(tmp_path):
    wanted = ["B.PNG", "a.jpg", "sub/deep/c.JPEG", "sub/d.bmp", "z.gif", "ünï code.png"]
    ignored = [".hidden.png", ".git/e.png", "notes.txt", "png", "sub/Thumbs.db", "f.png.txt"]
    for name in wanted + ignored:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert sorted(found) == sorted(wanted)
    assert found == [path.relative_to(tmp_path).as_posix() for path in list_images(str(tmp_path))]
