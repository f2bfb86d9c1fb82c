"""Nothing of a folder is dropped or read as something else without a word."""

import io
import os
import warnings

import numpy as np
import pytest
from makers import make_images, write_folder, write_image
from PIL import Image

from ede_keras.data.datasets import list_folder, load_dataset
from ede_keras.data.folders import find_layout
from ede_keras.data.images.files import decode_content, load_images
from ede_keras.data.images.inspection import inspect_image
from ede_keras.data.images.listing import list_files
from ede_keras.data.protocols import make_split
from ede_keras.errors import InputError

GREY = make_images([3], (32, 32, 1))[0][..., 0]
COLOUR = make_images([5], (32, 32, 3))[0]


def save(path, pixels, format_name=None, **arguments):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format_name, **arguments)
    return path


def test_one_line_if_there_is_nothing_to_say(tmp_path):
    for i in range(3):
        save(tmp_path / f"{i}.png", GREY)
    summary = load_dataset(str(tmp_path)).summary
    assert summary.lines() == [
        f"3 of 3 files used from {tmp_path}, read as layout 'normals' (all images are normal)"
    ]
    facts = summary.to_dict()
    assert (facts["seen"], facts["used"], facts["left_out"]) == (3, 3, {})
    assert facts["smallest"] == facts["largest"] == [32, 32] and facts["formats"] == {"PNG": 3}
    assert facts["lowest_and_highest_as_read"] == [GREY.min(), GREY.max()]


def test_what_is_left_out_is_named_with_its_reason(tmp_path):
    write_folder(tmp_path, "mvtec", n=2, size=32)
    (tmp_path / "test/hole/cut.png").write_bytes((tmp_path / "test/hole/000.png").read_bytes()[:99])
    (tmp_path / "test/good/empty.jpg").touch()
    save(tmp_path / "test/good/float.tif", GREY.astype("float32"))
    (tmp_path / "train/good/photo.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 99)
    (tmp_path / "readme.txt").write_text("of the set")
    save(tmp_path / "validation/good/000.png", GREY)
    os.symlink(tmp_path / "gone.png", tmp_path / "train/good/link.png")
    for hidden in (".DS_Store", "train/Thumbs.db", "train/.cache/a.png", "__MACOSX/train/a.png"):
        (tmp_path / hidden).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / hidden).touch()
    expected = {
        "readme.txt": "no image that is read (.txt)",
        "test/good/empty.jpg": "empty file",
        "test/good/float.tif": "floating-point pixels",
        "test/hole/cut.png": "damaged",
        "train/good/link.png": "a broken link",
        "validation/good/000.png": "in validation/, beside train/ and test/",
    }
    with pytest.warns(UserWarning, match="Left out of ") as caught:
        dataset = load_dataset(str(tmp_path))
    left_out = dict(dataset.summary.left_out)
    heic = left_out.pop("train/good/photo.HEIC")
    assert "HEIC" in heic or heic == "damaged"  # without and with the plugin
    assert left_out == expected
    said = str(caught[0].message)
    assert all(name in said and reason in said for name, reason in expected.items() if "/" in name)
    assert dataset.summary.n_seen == 8 + 7 and "readme.txt" in "".join(dataset.summary.lines())
    with pytest.raises(InputError, match="1 file, floating-point pixels: test/good/float.tif"):
        load_dataset(str(tmp_path), strict=True)


def test_links_are_followed_once(tmp_path):
    save(tmp_path / "elsewhere/bad/a.png", GREY)
    save(tmp_path / "parts/good/b.png", GREY)
    os.symlink(tmp_path / "elsewhere/bad", tmp_path / "parts/bad")
    os.symlink(tmp_path / "parts", tmp_path / "parts/good/loop")
    layout = find_layout(tmp_path / "parts")
    assert layout.train == {"bad/a.png": 0, "good/b.png": 1}
    assert layout.left_out == {"good/loop": "a link to a folder that is read already"}
    assert "bad/ is a link and was followed" in layout.notes


def test_links_that_come_first_or_lead_above(tmp_path):
    """Each file is read once, by the path of its real folder."""
    save(tmp_path / "parts/zrun3/a.png", GREY)
    save(tmp_path / "parts/other/b.png", GREY)
    save(tmp_path / "beside/c.png", GREY)
    os.symlink(tmp_path / "parts/zrun3", tmp_path / "parts/latest")
    os.symlink(tmp_path, tmp_path / "parts/above")
    os.symlink(tmp_path / "beside", tmp_path / "parts/one")
    os.symlink(tmp_path / "beside", tmp_path / "parts/two")
    listing = list_files(tmp_path / "parts")
    assert listing.images == ("one/c.png", "other/b.png", "zrun3/a.png")
    assert {*listing.left_out} == {"above", "latest", "two"} and listing.links == ("one",)


def test_sound_video_and_text_are_no_images(tmp_path):
    (tmp_path / "a.avi").write_bytes(b"RIFF\0\0\0\0AVI LIST" + bytes(50))
    (tmp_path / "b.txt").write_bytes(b"BMW and other cars, a text")
    save(tmp_path / "c.dat", COLOUR, "WEBP")
    save(tmp_path / "d.dat", COLOUR, "BMP")
    assert list_files(tmp_path).images == ("c.dat", "d.dat")


def test_files_of_one_name_are_noted(tmp_path):
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "a.bmp", GREY)
    save(tmp_path / "b.png", GREY)
    notes = find_layout(tmp_path).notes
    assert notes == ("1 images have the name of another one but for the suffix: a.bmp and a.png",)


def test_a_pnm_of_16_bits_may_hold_fewer(tmp_path):
    levels = np.round(np.linspace(0, 4095, 32 * 32)).astype(">u2").reshape(32, 32)
    (tmp_path / "a.pgm").write_bytes(b"P5\n32 32\n65535\n" + levels.tobytes())
    own = (levels // 16).astype(np.uint8)
    (tmp_path / "b.pgm").write_bytes(b"P5\n32 32\n4095\n" + levels.tobytes())  # names its white
    dataset = load_dataset(str(tmp_path))
    assert dataset.max_value == 4095 and own.any()
    for image in dataset.x_train:
        np.testing.assert_allclose(image[..., 0], levels * (255 / 4095), atol=0.51)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert list_files(tmp_path).left_out == {"a.png": "no regular file"}


@pytest.mark.parametrize(
    ("parts", "note"),
    [
        (("Train", "Test"), None),
        (("training", "TESTING"), None),
        (("train", "val"), "val/ is taken as the test part"),
        (("train", "test_public"), None),
        (("train_set", "Test-set"), None),
    ],
)
def test_other_spellings_of_the_parts(tmp_path, parts, note):
    for name in (f"{parts[0]}/OK", f"{parts[1]}/ok", f"{parts[1]}/NG"):
        for i in range(3):
            save(tmp_path / f"{name}/{i}.png", GREY)
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == {0: "OK", 1: "NG"} and dataset.layout == "split"
    assert make_split(dataset).y_test.tolist() == [1, 1, 1, 0, 0, 0]
    assert (note is None) or any(note in line for line in dataset.summary.lines())


def test_the_users_word_names_the_normal_class(tmp_path):
    for part in ("train", "test"):
        for name in ("ok_front", "def_front", "good"):
            for i in range(3):
                save(tmp_path / f"{part}/{name}/{i}.png", GREY)
    dataset = load_dataset(str(tmp_path), normal="OK_front")
    assert dataset.class_names == {0: "ok_front", 1: "def_front", 2: "good"}
    assert make_split(dataset, normal="ok_front").y_test.tolist() == [1, 1, 1, 1, 1, 1, 0, 0, 0]
    with pytest.raises(InputError, match=r"--normal names.*--normal=missing"):
        load_dataset(str(tmp_path), normal="missing")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train/a/1.png", "train/b/1.png"), "must have train/ and test/.*Received: train/"),
        (("test/good/1.png", "test/bad/1.png"), "must have train/ and test/.*Received: test/"),
        (("train/good/1.png", "Train/good/1.png", "test/x/1.png"), "one of each"),
        (("train/good/1.png", "test_a/x/1.png", "test_b/x/1.png"), "one of each"),
    ],
)
def test_a_part_that_is_missing_is_said(tmp_path, names, message):
    for name in names:
        save(tmp_path / name, GREY)
    with pytest.raises(InputError, match=message):
        find_layout(tmp_path)


def test_masks_beside_classes_are_no_class(tmp_path):
    for name in ("good", "bad", "Masks"):
        save(tmp_path / f"{name}/1.png", GREY)
    layout = find_layout(tmp_path)
    assert layout.class_names == {0: "bad", 1: "good"}
    reason = "in a folder of masks (--layout=classes takes it as a class)"
    assert layout.left_out == {"Masks/1.png": reason}
    assert len(find_layout(tmp_path, "classes").class_names) == 3


def test_masks_beside_their_images_are_no_images(tmp_path):
    for name in ("train/good/1.png", "train/good/x_mask.png", "test/good/1.png", "test/dent/1.png"):
        save(tmp_path / name, GREY)
    save(tmp_path / "test/dent/1_MASK.PNG", GREY)
    save(tmp_path / "train/good/1_label.png", GREY)
    layout = find_layout(tmp_path)
    assert {*layout.train} == {"train/good/1.png", "train/good/x_mask.png"}  # there is no x.png
    assert {*layout.test} == {"test/dent/1.png", "test/good/1.png"}
    assert layout.masks == {"test/dent/1.png": ("test/dent/1_MASK.PNG",)}
    assert layout.left_out == {"train/good/1_label.png": "a mask, by its name, of train/good/1.png"}


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
    assert [str(w.message).split(" are ")[1] for w in caught] == [
        f"values up to {white}; those above {white // 2} (--max_value, or the run's)"
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
        with pytest.warns(UserWarning, match=f"values up to {high}; those above 500"):
            cut = load_dataset(str(tmp_path / "a.npz"), max_value=500)
        np.testing.assert_allclose(cut.x_train[..., 0], np.minimum(x / 500, 1) * 255, rtol=1e-5)
    elif "float" in dtype:  # whose scale is known: a run's white of 16 bits does not matter
        other = load_dataset(str(tmp_path / "a.npz"), max_value=4095)
        np.testing.assert_array_equal(other.x_train, dataset.x_train)


def test_notes_on_pages_alpha_and_sizes(tmp_path):
    save(tmp_path / "pages.tif", GREY, save_all=True, append_images=[Image.fromarray(GREY)] * 2)
    save(tmp_path / "a.gif", GREY, save_all=True, append_images=[Image.fromarray(GREY[::-1])])
    save(tmp_path / "alpha.png", np.dstack([COLOUR, GREY]))
    save(tmp_path / "large.png", COLOUR.repeat(2, 0).repeat(3, 1))
    drawing = np.zeros((32, 32, 4), np.uint8)
    drawing[..., 3] = GREY
    save(tmp_path / "drawing.png", drawing)
    with pytest.warns(UserWarning, match="1 files in .* show nothing .* dropped: drawing.png"):
        summary = load_dataset(str(tmp_path)).summary
    said = "\n".join(summary.lines())
    assert "of 2 files with several pages or frames, the first one is read" in said
    assert "the transparency of 2 files is dropped" in said
    assert summary.to_dict()["colour"] is True
    assert "sizes differ, from 32 x 32 to 64 x 96: all are resized" in said


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("b.jpg", "WEBP"), ("c.png", "TIFF"), ("d.jpeg", "PNG"), ("e.tif", "PNG")),
        *(("f.bmp", "GIF"), ("g.webp", "BMP"), ("noname", "PNG"), ("h.dat", "TIFF")),
        *(("i.jp2", "JPEG2000"), ("j.pgm", "PPM"), ("k.png", "AVIF")),
    ],
)
def test_the_content_counts_not_the_name(tmp_path, name, kind):
    pixels = COLOUR if kind != "GIF" else np.dstack([GREY] * 3)
    exact = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}, "JPEG2000": {}}
    save(tmp_path / name, pixels, kind, **exact.get(kind, {}))
    found, unread = load_images([tmp_path / name], (32, 32, 3))
    assert not unread.any() and list_files(tmp_path).images == (name,)
    assert np.abs(found[0].astype(int) - pixels).max() <= (40 if kind == "AVIF" else 0)


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
        (b"<html>no</html>", "no image, by its content"),
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


def test_a_list_of_files_has_a_summary_too(tmp_path):
    write_folder(tmp_path, "classes", n=2)
    (tmp_path / "notes.md").touch()
    summary = list_folder(tmp_path).summary
    assert summary.n_used == 6 and summary.left_out == {"notes.md": "no image that is read (.md)"}


def test_one_image_is_a_data_set(tmp_path):
    save(tmp_path / "one.png", GREY)
    save(tmp_path / "other.png", GREY)
    dataset = load_dataset(str(tmp_path / "one.png"))
    assert list(dataset.paths_train) == ["one.png"]


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


def test_photos_of_phones(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs pip install '.[heif]'")
    smooth = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    pillow_heif.from_pillow(Image.fromarray(smooth)).save(tmp_path / "a.HEIC", quality=100)
    dataset = load_dataset(str(tmp_path))
    assert np.abs(dataset.x_train[0].astype(int) - smooth).max() < 6
    assert dataset.summary.to_dict()["formats"] == {"HEIF": 1}
