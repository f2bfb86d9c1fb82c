"""Masks of a folder: found by their names, read whatever their values are."""

import numpy as np
import pytest
from PIL import Image

from ede_keras.data.datasets import load_dataset
from ede_keras.data.folders import find_layout
from ede_keras.data.mask_files import SIZE, Masks, find_masks, read_mask

DRAWN = np.zeros((64, 48), bool)
DRAWN[10:30, 5:25] = True


def draw(kind):
    """An image of the mask, as programs store it."""
    ones = DRAWN.astype(np.uint8)
    if kind == "palette":
        image = Image.fromarray(ones).convert("P")
        image.putpalette([0, 0, 0, 128, 0, 0] + [0] * 750)
        return image
    pixels = {
        "0 and 1": ones,
        "0 and 255": ones * 255,
        "red": np.stack([ones * 255, ones * 0, ones * 0], -1),
        "dark blue": np.stack([ones * 0, ones * 0, ones * 9], -1),
        "classes": ones * np.where(np.arange(48) < 15, 1, 2).astype(np.uint8),
        "16 bits": ones.astype(np.uint16),
        "with alpha": np.stack([ones * 255, ones * 0 + 255], -1),
        "1 bit": ones.astype(bool),
    }
    return Image.fromarray(pixels[kind])


@pytest.mark.parametrize(
    "kind",
    [
        *("0 and 1", "0 and 255", "red", "dark blue", "classes", "palette", "16 bits"),
        *("with alpha", "1 bit"),
    ],
)
def test_anomalous_is_what_is_not_0(tmp_path, kind):
    draw(kind).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), DRAWN)


@pytest.mark.parametrize("value", [255, 90])
def test_of_a_jpeg_and_of_soft_edges_it_is_the_upper_half(tmp_path, value):
    mask = Image.fromarray(DRAWN.astype(np.uint8) * np.uint8(value))
    mask.save(tmp_path / "a.jpg", quality=90)
    assert (read_mask(tmp_path / "a.jpg") != DRAWN).mean() < 0.002
    soft = np.linspace(0, 255, 64 * 48).reshape(64, 48).astype(np.uint8)
    Image.fromarray(soft).save(tmp_path / "soft.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "soft.png"), soft >= 128)
    noise = np.random.default_rng(0).integers(0, 4, (64, 48), np.uint8)
    Image.fromarray(noise).save(tmp_path / "empty.jpg")
    assert not read_mask(tmp_path / "empty.jpg").any()


@pytest.mark.parametrize(("n", "dtype"), [(40, np.uint8), (254, np.uint8), (900, np.uint16)])
def test_numbers_of_objects_are_no_soft_edges(tmp_path, n, dtype):
    """Each object of a label map counts, also the first of many; it does not reach white."""
    numbers = DRAWN * (1 + np.arange(DRAWN.size).reshape(DRAWN.shape) % n)
    Image.fromarray(numbers.astype(dtype)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), DRAWN)


def test_names_of_masks():
    files = {f"test/dent/{name}.png": 1 for name in ("000", "001", "002", "003", "004", "9_mask")}
    masks = [
        "Ground_Truth/dent/000_MASK.PNG",
        "Ground_Truth/dent/001.jpg",
        "Ground_Truth/Dent/002_label.bmp",
        "Ground_Truth/dent/003/000.png",
        "Ground_Truth/dent/003/001.png",
        "Ground_Truth/dent/9_mask.png",
        "Ground_Truth/hole/004.png",
    ]
    found, unused = find_masks(files, masks, "test")
    assert found == {
        "test/dent/000.png": (masks[0],),
        "test/dent/001.png": (masks[1],),
        "test/dent/002.png": (masks[2],),
        "test/dent/003.png": (masks[3], masks[4]),
        "test/dent/9_mask.png": (masks[5],),
    }
    assert unused == [masks[6]]


def write_parts(folder, masks):
    """A folder in MVTec's layout with one anomalous image for each mask, None for no mask."""
    image = Image.fromarray(np.zeros((64, 48), np.uint8))
    for name in ("train/good", "test/good", "test/dent", "ground_truth/dent"):
        (folder / name).mkdir(parents=True)
    for name in ("train/good/0.png", "train/good/1.png", "test/good/0.png"):
        image.save(folder / name)
    for name, mask in masks.items():
        image.save(folder / f"test/dent/{name}.png")
        path = folder / f"ground_truth/dent/{name}.png"
        if isinstance(mask, bytes):
            path.write_bytes(mask)
        elif mask is not None:
            Image.fromarray(mask.astype(np.uint8)).save(path)


def test_what_is_wrong_with_masks_is_counted(tmp_path):
    masks = {
        "whole": DRAWN,
        "none": None,
        "empty": DRAWN & False,
        "other_size": DRAWN[:32],
        "cut": b"no image",
    }
    write_parts(tmp_path, masks)
    dataset = load_dataset(str(tmp_path))
    summary = dataset.summary
    assert summary.to_dict()["masks"] == {
        "found": 2,
        "missing": 1,
        "empty": 1,
        "unread": 1,
        "of_another_size_than_the_image": 1,
    }
    said = "\n".join(summary.lines())
    for text in (
        "1 anomalous images have no mask, so their pixels are not measured: test/dent/none.png",
        "1 anomalous images have an empty mask, so their pixels are not measured: "
        "test/dent/empty.png",
        "1 anomalous images have a mask that cannot be used",
        "1 masks differ in size from their images",
    ):
        assert text in said
    files = ["test/good/0.png", "test/dent/whole.png", "test/dent/none.png"]
    drawn, known = dataset.masks.select(files, np.array([0, 1, 1]))
    np.testing.assert_array_equal(known, [True, True, False])
    assert drawn.shape == (2, SIZE, SIZE) and not drawn[0].any()
    rows, columns = np.flatnonzero(drawn[1].any(1)), np.flatnonzero(drawn[1].any(0))
    assert abs(rows[0] - 10 * 4) <= 1 and abs(rows[-1] - 30 * 4) <= 2
    assert abs(columns[0] - 5 * SIZE / 48) <= 1 and abs(columns[-1] - 25 * SIZE / 48) <= 2
    assert dataset.masks.select(files[::2], np.array([0, 1])) is None


def test_what_vanishes_at_256_pixels_is_not_measured(tmp_path):
    thin = np.zeros((1500, 1500), bool)
    thin[700, 700:703] = True
    write_parts(tmp_path, {"a": thin, "b": DRAWN})
    masks = load_dataset(str(tmp_path)).masks
    assert list(masks.drawn) == ["test/dent/b.png"]
    assert masks.unread == {"test/dent/a.png": "no pixel is left at 256 x 256"}


def test_an_empty_mask_of_a_good_image_is_right(tmp_path):
    write_parts(tmp_path, {"a": DRAWN})
    (tmp_path / "ground_truth/good").mkdir()
    Image.fromarray(np.zeros((64, 48), np.uint8)).save(tmp_path / "ground_truth/good/0.png")
    summary = load_dataset(str(tmp_path)).summary
    assert summary.to_dict()["masks"]["empty"] == 0
    assert not any("empty mask" in line for line in summary.lines())


def test_parts_of_one_mask_count_together(tmp_path):
    write_parts(tmp_path, {"a": None})
    (tmp_path / "ground_truth/dent/a").mkdir()
    for i, part in enumerate((DRAWN & (np.arange(48) < 15), DRAWN & (np.arange(48) >= 15))):
        Image.fromarray(part).save(tmp_path / f"ground_truth/dent/a/{i}.png")
    layout = find_layout(tmp_path)
    masks = Masks.read(tmp_path, layout.masks, {})
    whole = Masks.read(tmp_path, {}, {})
    assert not whole.drawn and list(masks.drawn) == ["test/dent/a.png"]
    drawn = masks.drawn["test/dent/a.png"]
    assert abs(drawn.mean() - DRAWN.mean()) < 0.01
