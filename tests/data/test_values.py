"""Pixels are read as they show: bits, palettes, floats; what cannot be read is said."""

import io
import warnings

import numpy as np
import pytest
from makers import make_images, save, write_image
from PIL import Image

from ede_keras.data.datasets import load_dataset
from ede_keras.data.images.files import decode_content, load_images
from ede_keras.data.images.inspection import inspect_image

GREY = make_images([3], (32, 32, 1))[0][..., 0]
COLOUR = make_images([5], (32, 32, 3))[0]


def test_a_pnm_of_16_bits_may_hold_fewer(tmp_path):
    levels = np.round(np.linspace(0, 4095, 32 * 32)).astype(">u2").reshape(32, 32)
    (tmp_path / "a.pgm").write_bytes(b"P5\n32 32\n65535\n" + levels.tobytes())
    own = (levels // 16).astype(np.uint8)
    (tmp_path / "b.pgm").write_bytes(b"P5\n32 32\n4095\n" + levels.tobytes())  # names its white
    dataset = load_dataset(str(tmp_path))
    assert dataset.max_value == 4095 and own.any()
    for image in dataset.x_train:
        np.testing.assert_allclose(image[..., 0], levels * (255 / 4095), atol=0.51)


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize(("bits", "white"), [(8, 255), (10, 1023), (12, 4095), (14, 16383)])
def test_grey_levels_of_more_than_8_bits_are_kept(tmp_path, kind, bits, white):
    levels = np.round(np.linspace(0, white, 32 * 32)).astype(np.uint16).reshape(32, 32)
    save(tmp_path / f"a.{kind}", levels)
    save(tmp_path / "b.png", GREY)  # the scale of 8 bits is known
    dataset = load_dataset(str(tmp_path))
    assert dataset.max_value == white and bits
    np.testing.assert_allclose(dataset.x_train[0][..., 0], levels * (255 / white), atol=0.51)
    np.testing.assert_array_equal(dataset.x_train[1][..., 0], GREY)
    said = f"1 files have 16 bits, up to {white}: {white} is read as white (--max_value)"
    assert any(said in line for line in dataset.summary.lines())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        darker = load_dataset(str(tmp_path), max_value=2 * white).x_train[0]
        cut = load_dataset(str(tmp_path), max_value=white // 2).x_train[0]
    np.testing.assert_allclose(darker[..., 0], levels * (127.5 / white), atol=0.51)
    assert (cut == 255).mean() > 0.49
    assert [str(w.message) for w in caught] == [
        f"Pixels in {tmp_path} go up to {white}; those above {white // 2} (set by --max_value or "
        "the run) are read as white."
    ]


@pytest.mark.parametrize(
    ("dtype", "high", "white"),
    [
        ("uint16", 1000, 1023),
        ("int32", 4000, 4095),
        ("int64", 200, None),
        ("float32", 1.0, None),
        ("float64", 200.0, None),
        ("uint8", 9, None),
    ],
)
def test_arrays_are_scaled_by_the_same_rule(tmp_path, dtype, high, white):
    x = np.linspace(0, high, 4 * 64).reshape(4, 8, 8).astype(dtype)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=np.zeros(4), x_test=x, y_test=np.zeros(4))
    dataset = load_dataset(str(tmp_path / "a.npz"))
    assert dataset.max_value == white
    scale = 255 / (white or (1 if high == 1 else 255))
    np.testing.assert_allclose(dataset.x_train[..., 0], x * scale, rtol=1e-5)
    if white is not None:
        other = load_dataset(str(tmp_path / "a.npz"), max_value=8190)
        np.testing.assert_allclose(other.x_train[..., 0], x * (255 / 8190), rtol=1e-5)
        with pytest.warns(UserWarning, match=f"go up to {high}; those above 500"):
            cut = load_dataset(str(tmp_path / "a.npz"), max_value=500)
        np.testing.assert_allclose(cut.x_train[..., 0], np.minimum(x / 500, 1) * 255, rtol=1e-5)
    elif "float" in dtype:  # whose scale is known: a run's white of 16 bits does not matter
        other = load_dataset(str(tmp_path / "a.npz"), max_value=4095)
        np.testing.assert_array_equal(other.x_train, dataset.x_train)


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".gif", ".tif"])
def test_palettes_show_their_colours(tmp_path, suffix):
    inverted = Image.fromarray(GREY).convert("P")
    inverted.putpalette([255 - i for i in range(256) for _ in range(3)])
    one_bit = Image.fromarray(GREY).convert("1")
    for name, image in (
        ("p", Image.fromarray(COLOUR).quantize(64)),
        ("i", inverted),
        ("1", one_bit),
    ):
        image.save(tmp_path / f"{name}{suffix}")
        found, unread = load_images([tmp_path / f"{name}{suffix}"], (32, 32, 3))
        assert not unread.any()
        np.testing.assert_array_equal(found[0], np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty file"),
        (b"<html>no</html>", "not an image, judging by its content"),
        (b"\x89PNG\r\n", "damaged"),
        (b"\0\0\0\x18ftypmif1" + b"\0" * 50, "HEIC|damaged"),
    ],
)
def test_damaged_is_said_of_damaged_files_alone(tmp_path, content, problem):
    (tmp_path / "a.jpg").write_bytes(content)
    assert inspect_image(tmp_path / "a.jpg").problem.split(",")[0] in problem


@pytest.mark.parametrize(
    ("pixels", "problem"),
    [
        (GREY.astype("float32"), "floating-point pixels"),
        (GREY.astype("int32"), "signed pixels"),
    ],
)
def test_pixels_that_are_not_read(pixels, problem):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "TIFF")
    assert inspect_image(content.getvalue()).problem == problem


def test_the_decoder_of_servers_gives_the_same_pixels(tmp_path):
    paths = [
        save(tmp_path / "a.png", COLOUR),
        save(tmp_path / "b.webp", COLOUR, lossless=True),
        save(tmp_path / "c.tif", GREY.astype(np.uint16) * 16),
        write_image(tmp_path / "d.jpg", COLOUR),
    ]
    loaded, _ = load_images(paths, (20, 24, 3), max_value=4095)
    for path, image in zip(paths, loaded, strict=True):
        found = decode_content(path.read_bytes(), (20, 24, 3), 4095)
        np.testing.assert_array_equal(found, image)
