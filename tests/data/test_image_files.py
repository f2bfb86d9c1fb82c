"""Loading the image files of a folder: formats, orientation, damaged files."""

import io
import shutil
import warnings

import numpy as np
import pytest
import tensorflow as tf
from makers import make_images, write_folder, write_image
from PIL import Image, ImageOps

from ede_keras.data.datasets import load_dataset
from ede_keras.data.images.decoding import decode_image
from ede_keras.data.images.files import load_images
from ede_keras.data.images.inspection import inspect_image
from ede_keras.data.images.listing import list_files
from ede_keras.errors import InputError

# The smallest GIF: one white pixel, with the palette (255, 255, 255), (0, 0, 0).
GIF = bytes.fromhex("47494638396101000100800000ffffff0000002c00000000010001000002024401003b")
COLOUR = make_images([3], (8, 6, 3))[0]
GREY = make_images([3], (8, 6, 1))[0]


def test_jpeg_bmp_and_gif(tmp_path):
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    bmp = write_image(tmp_path / "a.bmp", smooth)
    jpg = write_image(tmp_path / "a.jpg", smooth)
    (tmp_path / "a.gif").write_bytes(GIF)
    found, _ = load_images([bmp, jpg, tmp_path / "a.gif"], (16, 16, 3))
    np.testing.assert_array_equal(found[0], smooth)
    np.testing.assert_allclose(found[1].astype(int), smooth, atol=4)
    np.testing.assert_array_equal(found[2], np.full((16, 16, 3), 255))
    assert load_images([bmp, tmp_path / "a.gif"], (4, 4, 1))[0].shape == (2, 4, 4, 1)


def test_load_images_is_what_the_graph_sees(tmp_path):
    images = make_images(range(5), (20, 13, 3))
    paths = [write_image(tmp_path / f"{i}.png", image) for i, image in enumerate(images)]
    found, _ = load_images(paths, (8, 8, 1))
    assert found.dtype == np.uint8
    for path, image in zip(paths, found, strict=True):
        np.testing.assert_array_equal(decode_image(path.read_bytes(), (8, 8, 1)), image)
    assert load_images([], (8, 8, 1))[0].shape == (0, 8, 8, 1)


@pytest.mark.parametrize("content", [b"", b"not an image", None, "cut"])
@pytest.mark.parametrize("position", [0, 3])
def test_damaged_images_are_known(tmp_path, content, position):
    images = make_images(range(5), (8, 6, 3))
    paths = [write_image(tmp_path / f"{i}.png", image) for i, image in enumerate(images)]
    bad = paths[position]
    if content is None:
        bad.unlink()
    else:
        bad.write_bytes(bad.read_bytes()[:80] if content == "cut" else content)
    found, damaged = load_images(paths, (8, 6, 3))
    assert np.flatnonzero(damaged).tolist() == [position]
    np.testing.assert_array_equal(found, images[~damaged])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_upright(tmp_path, orientation):
    coarse = np.random.default_rng(0).integers(0, 256, (3, 2, 3), dtype=np.uint8)
    stored = Image.fromarray(coarse.repeat(16, axis=0).repeat(16, axis=1))
    tags = Image.Exif()
    tags[0x0112] = orientation
    path = tmp_path / "a.jpg"
    stored.save(path, exif=tags, quality=95)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        expected = np.asarray(upright.resize((12, 18), Image.Resampling.BOX), int)
    found, damaged = load_images([path], (18, 12, 3))
    assert not damaged.any()
    # Compared inside the blocks, because the two resize the edges in different ways.
    sideways = orientation >= 5
    rows, columns = ((4, 13), (2, 6, 9)) if sideways else ((3, 9, 14), (3, 8))
    inside = np.ix_(rows, columns)
    np.testing.assert_allclose(found[0].astype(int)[inside], expected[inside], atol=12)
    # With the wrong extension it is also turned once, whether Pillow or TensorFlow reads it.
    for name in ("a.webp", "a.png"):
        misnamed = shutil.copy(path, tmp_path / name)
        again, _ = load_images([misnamed], (18, 12, 3))
        np.testing.assert_allclose(again[0].astype(int), found[0], atol=2)
        assert inspect_image(misnamed).size == inspect_image(path).size


def test_the_size_of_the_first_image_is_that_of_all(tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=tags)
    write_image(tmp_path / "b.png", COLOUR)
    assert inspect_image(tmp_path / "a.jpg").size == (30, 20)
    assert inspect_image(tmp_path / "b.png").size == (8, 6)
    dataset = load_dataset(str(tmp_path), image_shape=(None, None, 1))
    assert dataset.x_train.shape == (2, 30, 20, 1)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    assert inspect_image(tmp_path / "a.jpg").problem == "not an image, judging by its content"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Image appears to be a malformed")
def test_orientation_of_damaged_headers():
    def read(content):
        return inspect_image(content).orientation

    tags = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    segment = b"\xff\xe1" + (len(tags) + 2).to_bytes(2) + tags
    plain = tf.io.encode_jpeg(GREY).numpy()
    whole = plain[:2] + segment + plain[2:]
    assert read(whole) == 6
    assert read(b"\xff\xd8\xff\xe0\0\x04ab" + whole[2:]) == 6
    assert read(plain) == 1
    for end in range(len(whole) - 3):
        assert read(whole[:end]) in (1, 6)
    for value in (0, 9, 255):
        assert read(plain[:2] + segment.replace(b"\x06", bytes([value])) + plain[2:]) == 1
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(whole)
        broken[rng.integers(2, 2 + len(segment))] = rng.integers(256)
        assert 1 <= read(bytes(broken)) <= 8


def test_orientation_of_a_long_header():
    """The EXIF data and the pixels may be far apart."""
    tags = Image.Exif()
    tags[0x0112] = 8
    content = io.BytesIO()
    Image.fromarray(COLOUR).save(content, "JPEG", exif=tags, icc_profile=bytes(600_000))
    assert inspect_image(content.getvalue()).orientation == 8


def test_xmp_data_do_not_turn_a_jpeg():
    content = io.BytesIO()
    Image.fromarray(COLOUR).save(content, "JPEG", xmp=b'<x tiff:Orientation="6"/>')
    assert inspect_image(content.getvalue()).orientation == 1


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("kind", ["png", "webp", "tiff"])
def test_exif_data_turn_other_formats(tmp_path, kind, place):
    tags = Image.Exif()
    tags[0x0112] = 6
    path = tmp_path / f"a.{kind}"
    Image.fromarray(COLOUR).save(path, exif=tags, lossless=True)
    if kind == "png" and place == "after":  # the chunk after the pixels
        content = path.read_bytes()
        begin = content.index(b"eXIf") - 4
        end = begin + 12 + int.from_bytes(content[begin : begin + 4])
        chunk, rest = content[begin:end], content[:begin] + content[end:]
        path.write_bytes(rest[:-12] + chunk + rest[-12:])
    found, damaged = load_images([path], (6, 8, 3))
    assert not damaged.any() and inspect_image(path).size == (6, 8)
    np.testing.assert_array_equal(found[0], np.rot90(COLOUR, -1))


@pytest.mark.parametrize(
    ("name", "mode", "pixels"),
    [
        ("a.tif", "RGB", COLOUR),
        ("a.TIFF", "L", GREY[..., 0]),
        ("a.webp", "RGB", COLOUR),
        ("a.tif", "I;16", GREY[..., 0].astype("uint16") * 257),
        ("a.png", "I;16", GREY[..., 0].astype("uint16") * 257),
    ],
)
def test_other_formats(tmp_path, name, mode, pixels):
    image = Image.fromarray(pixels)
    assert image.mode == mode
    image.save(tmp_path / name, lossless=True)
    expected = COLOUR if mode == "RGB" else GREY
    found, damaged = load_images([tmp_path / name], expected.shape)
    np.testing.assert_array_equal(found[0], expected)
    assert not damaged.any()
    assert list_files(tmp_path).images == (name,)


def test_tiff_and_png_in_one_folder(tmp_path):
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "cmyk.tif")
    Image.fromarray(COLOUR).quantize(200).save(tmp_path / "palette.tif")
    Image.fromarray(np.zeros((8, 6), "float32")).save(tmp_path / "float.tif")
    (tmp_path / "no.webp").write_bytes(b"no image")
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.tif", compression="group4")
    write_image(tmp_path / "z.png", COLOUR)
    paths = [tmp_path / name for name in list_files(tmp_path).images]
    found, damaged = load_images(paths, COLOUR.shape)
    names = np.array([path.stem for path in paths])
    assert {*names[damaged]} == {"float", "no", "bomb"}
    assert {*names[~damaged]} == {"cmyk", "palette", "z"}
    for image in found:
        assert np.abs(image.astype(int) - COLOUR).mean() < 6


@pytest.mark.slow
def test_a_thousand_mutated_images(tmp_path):
    """Each is decoded or left out. None of them stops the loading or affects other images."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "parts"
    write_folder(folder, "plain", n=20, size=24)
    whole = load_dataset(str(folder)).x_train
    picture = Image.fromarray(make_images([5], (40, 30, 3))[0])
    for kind in ("png", "jpeg", "bmp", "gif", "tiff", "webp"):
        content = io.BytesIO()
        picture.save(content, kind)
        for i in range(170):
            broken = bytearray(content.getvalue())
            for _ in range(rng.integers(1, 9)):
                broken[rng.integers(len(broken))] = rng.integers(256)
            end = len(broken) if i % 3 else rng.integers(len(broken))
            (folder / f"m-{kind}-{i}.{kind}").write_bytes(broken[:end])
    with warnings.catch_warnings(record=True) as warned:  # Pillow also warns about damaged tags
        warnings.simplefilter("always")
        dataset = load_dataset(str(folder))
    assert any("Left out of" in str(warning.message) for warning in warned)
    assert len(dataset.x_train) == dataset.summary.n_used
    assert dataset.summary.n_seen == 20 + 6 * 170
    assert len(dataset.summary.left_out) > 300
    is_whole = np.char.isnumeric(np.char.replace(dataset.paths_train, ".png", ""))
    np.testing.assert_array_equal(dataset.x_train[is_whole], whole)
    for path in folder.glob("*.tiff"):
        path.unlink()
    with pytest.raises(InputError, match="must be an image that can be read"):
        load_dataset(str(folder), strict=True)


@pytest.mark.parametrize(
    ("added", "channels"),
    [
        ({}, 1),
        ({"alpha.png": np.repeat(GREY, 2, -1), "rgb.png": np.repeat(GREY, 3, -1)}, 1),
        ({"colour.bmp": COLOUR}, 3),
        ({"test/bad/colour.png": COLOUR}, 3),
    ],
)
def test_channels_of_a_folder(tmp_path, added, channels):
    """Depends on what the images show, not on how they are stored."""
    files = {"train/a.png": GREY, "train/b.jpg": GREY, "test/good/c.png": GREY}
    for name, image in {**files, **added}.items():
        name = name if "/" in name else f"train/{name}"
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / name, image)
    dataset = load_dataset(str(tmp_path))
    assert {part.shape[-1] for part in (dataset.x_train, dataset.x_test)} == {channels}
    same = load_dataset(str(tmp_path), image_shape=(32, 32, channels))
    np.testing.assert_array_equal(same.x_train, dataset.x_train)
    np.testing.assert_array_equal(same.x_test, dataset.x_test)


def test_list_files(tmp_path):
    wanted = ["B.PNG", "a.jpg", "sub/deep/c.JPEG", "sub/d.bmp", "z.gif", "ünï code.png"]
    ignored = [".hidden.png", ".git/e.png", "notes.txt", "png", "sub/Thumbs.db", "f.png.txt"]
    for name in wanted + ignored:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = list_files(tmp_path).images
    assert sorted(found) == sorted(wanted)
    assert found == list_files(str(tmp_path)).images
