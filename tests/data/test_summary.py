"""Nothing of a folder is dropped or read as something else without a word."""

import os

import numpy as np
import pytest
from makers import make_images, save, write_folder
from PIL import Image

from ede_keras.data.datasets import list_folder, load_dataset
from ede_keras.data.folders import find_layout
from ede_keras.data.images.files import load_images
from ede_keras.data.images.listing import list_files
from ede_keras.data.protocols import make_split
from ede_keras.errors import InputError

GREY = make_images([3], (32, 32, 1))[0][..., 0]
COLOUR = make_images([5], (32, 32, 3))[0]


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
        "readme.txt": "not an image of a supported format (.txt)",
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
    assert layout.left_out == {"good/loop": "a link to a folder that is already read"}
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
    assert notes == (
        "1 images have the same name as another, except for the suffix: a.bmp and a.png",
    )


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert list_files(tmp_path).left_out == {"a.png": "not a regular file"}


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
    with pytest.raises(InputError, match=r"with --normal.*--normal=missing"):
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
    reason = "in a folder of masks (--layout=classes reads it as a class)"
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
    assert layout.left_out == {
        "train/good/1_label.png": "a mask of train/good/1.png, judging by its name"
    }


def test_notes_on_pages_alpha_and_sizes(tmp_path):
    save(tmp_path / "pages.tif", GREY, save_all=True, append_images=[Image.fromarray(GREY)] * 2)
    save(tmp_path / "a.gif", GREY, save_all=True, append_images=[Image.fromarray(GREY[::-1])])
    save(tmp_path / "alpha.png", np.dstack([COLOUR, GREY]))
    save(tmp_path / "large.png", COLOUR.repeat(2, 0).repeat(3, 1))
    drawing = np.zeros((32, 32, 4), np.uint8)
    drawing[..., 3] = GREY
    save(tmp_path / "drawing.png", drawing)
    with pytest.warns(UserWarning, match="1 files in .* are blank .* dropped: drawing.png"):
        summary = load_dataset(str(tmp_path)).summary
    said = "\n".join(summary.lines())
    assert "2 files have several pages or frames: only the first is read" in said
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


def test_a_list_of_files_has_a_summary_too(tmp_path):
    write_folder(tmp_path, "classes", n=2)
    (tmp_path / "notes.md").touch()
    summary = list_folder(tmp_path).summary
    assert summary.n_used == 6 and summary.left_out == {
        "notes.md": "not an image of a supported format (.md)"
    }


def test_one_image_is_a_data_set(tmp_path):
    save(tmp_path / "one.png", GREY)
    save(tmp_path / "other.png", GREY)
    dataset = load_dataset(str(tmp_path / "one.png"))
    assert list(dataset.paths_train) == ["one.png"]


def test_photos_of_phones(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs pip install '.[heif]'")
    smooth = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    pillow_heif.from_pillow(Image.fromarray(smooth)).save(tmp_path / "a.HEIC", quality=100)
    dataset = load_dataset(str(tmp_path))
    assert np.abs(dataset.x_train[0].astype(int) - smooth).max() < 6
    assert dataset.summary.to_dict()["formats"] == {"HEIF": 1}
