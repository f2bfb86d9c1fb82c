"""Pixels are read as they show: bits, palettes, floats; what cannot be read is said."""

import io
import struct
import warnings

import numpy as np
import pytest
import tensorflow as tf
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


def test_the_range_as_stored_is_kept_and_a_dim_set_is_said(tmp_path):
    """A white dot counts, though no pixel is white once the image is small."""
    dot = np.zeros((256, 256), np.uint8)
    dot[7, 9] = 200
    for name, pixels in (("dot.png", dot), ("dim.png", np.full((40, 40), 40, np.uint8))):
        save(tmp_path / name, pixels)
    summary = load_dataset(str(tmp_path)).summary
    facts = summary.to_dict()
    assert facts["lowest_and_highest_as_stored"] == {"8_bits": [0, 200]}
    assert facts["lowest_and_highest_as_read"][1] == 40
    assert "brightest" not in "".join(summary.lines())
    (tmp_path / "dot.png").unlink()
    said = "  the brightest pixel is 40, 16% of white: scale the images if it should be white"
    assert said in load_dataset(str(tmp_path)).summary.lines()
    save(tmp_path / "dim.png", np.full((40, 40), 9000, np.uint16))
    summary = load_dataset(str(tmp_path), max_value=65535).summary
    assert "14% of white: train with --max_value=9000 if it should be white" in summary.lines()[-1]
    assert summary.to_dict()["lowest_and_highest_as_stored"] == {"16_bits": [9000, 9000]}
    save(tmp_path / "dim.png", np.zeros((40, 40), np.uint8))
    assert load_dataset(str(tmp_path)).summary.lines()[-1] == "  all pixels are 0"


@pytest.mark.parametrize(("dtype", "scale"), [("uint8", 1), ("float32", 1 / 255)])
def test_the_range_of_an_npz_and_its_other_arrays(tmp_path, dtype, scale):
    x = (np.arange(64).reshape(1, 8, 8) * scale).astype(dtype)
    named = {"x_train": x, "y_train": [0], "x_test": x, "y_test": [0], "masks": x, "paths": ["a"]}
    np.savez(tmp_path / "a.npz", **named)
    summary = load_dataset(str(tmp_path / "a.npz")).summary
    facts = summary.to_dict()
    assert facts["lowest_and_highest_as_stored"] == [0, x.max()] and facts["dtype"] == dtype
    assert facts["lowest_and_highest_as_read"] == [0, pytest.approx(63)]
    assert "25% of white: scale the images if it should be white" in summary.lines()[-1]
    assert "  arrays that are not used: masks, paths" in summary.lines()


def test_integers_of_more_bits_are_scaled_by_a_flag(tmp_path):
    x = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=[0], x_test=x, y_test=[0])
    lines = load_dataset(str(tmp_path / "a.npz")).summary.lines()
    assert "train with --max_value=63 if it should be white" in lines[-1]


def test_alpha_is_no_brightness(tmp_path):
    grey = np.full((32, 32, 1), 900, np.uint16)
    grey[5] = 0
    content = tf.io.encode_png(np.concatenate([grey, grey * 0 + 65535], -1)).numpy()
    (tmp_path / "a.png").write_bytes(content)
    dataset = load_dataset(str(tmp_path))
    assert dataset.max_value == 1023 and dataset.x_train.max() == round(900 * 255 / 1023)


def test_colours_that_are_read_as_grey_are_said(tmp_path):
    save(tmp_path / "a.png", COLOUR)
    save(tmp_path / "b.png", np.stack([GREY] * 3, -1))  # stored in colours, but shows none
    note = "  1 images show colours, which are read as grey"
    assert note in load_dataset(str(tmp_path), image_shape=(32, 32, 1)).summary.lines()
    assert note not in load_dataset(str(tmp_path)).summary.lines()


def tiff_bytes(**changes):
    """A TIFF of 4 x 4 pixels of 16 bits by hand, for what Pillow does not write."""
    tags = {"width": 4, "height": 4, "bits": 16, "compression": 1, "photometric": 1}
    tags |= {"offset": 300, "samples": 1, "rows": 4, "bytes": 512, **changes}
    numbers = {"subfile": 254, "width": 256, "height": 257, "bits": 258, "compression": 259}
    numbers |= {"photometric": 262, "offset": 273, "samples": 277, "rows": 278, "bytes": 279}
    numbers |= {"sub_ifds": 330, "dng": 50706}
    entries = b"".join(
        struct.pack("<HHII", numbers[name], 4, 1, value)
        for name, value in sorted(tags.items(), key=lambda tag: numbers[tag[0]])
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head.ljust(300, b"\0") + bytes(512)


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("a.tif", {}, ""),
        ("a.NEF", {}, "camera raw"),
        ("a.tif", {"dng": 1}, "camera raw"),
        ("a.tif", {"subfile": 1, "sub_ifds": 9}, "camera raw"),
        ("a.tif", {"subfile": 1}, ""),  # as some programs write the only page
        ("a.tif", {"photometric": 0}, "a TIFF of 16 bits in which 0 is white"),
        ("a.tif", {"photometric": 0, "bits": 8}, ""),  # which Pillow turns round
        ("a.tif", {"bits": 8, "photometric": 32803}, "a TIFF not supported by Pillow"),
        ("a.tif", {"bits": 32}, "32-bit pixels"),
    ],
)
def test_what_the_tags_of_a_tiff_say(tmp_path, name, changes, problem):
    (tmp_path / name).write_bytes(tiff_bytes(**changes))
    save(tmp_path / "b.png", GREY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        left_out = load_dataset(str(tmp_path)).summary.left_out
    assert left_out == ({name: problem} if problem else {})


def test_camera_raw_of_other_kinds_is_said_too(tmp_path):
    (tmp_path / "a.CR3").write_bytes(b"\0\0\0\x18ftypcrx " + bytes(50))
    (tmp_path / "b.cr2").write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(50))
    save(tmp_path / "c.png", GREY)
    with pytest.warns(UserWarning, match="2 files, camera raw: "):
        load_dataset(str(tmp_path))


def test_what_a_list_names_and_is_no_file(tmp_path):
    save(tmp_path / "a.png", GREY)
    (tmp_path / "folder").mkdir()
    (tmp_path / "l.csv").write_text("path,label\na.png,x\ngone.png,x\nfolder,x\n")
    with pytest.warns(UserWarning, match="1 file, no such file: gone.png"):
        left_out = load_dataset(str(tmp_path / "l.csv")).summary.left_out
    assert left_out == {"gone.png": "no such file", "folder": "a folder"}
