"""Pictures that fit into their room."""

import io

import numpy as np
import pytest
from PIL import Image

from ede_keras.evaluation.thumbnails import choose_size, encode, resize


def make_noisy(size, channels=3, sigma=12):
    """Like a photo of a part: bright to dark, an edge, and noise of a sensor."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]]
    shades = 60 + 120 * x / size[1] + 50 * (x + y > size[0])
    noisy = shades[..., None] + rng.normal(0, sigma, (*size, channels))
    return np.clip(noisy, 0, 255).astype("uint8")


@pytest.mark.parametrize("n_bytes", [1_000, 3_000, 30_000, 1_000_000])
@pytest.mark.parametrize(
    "size", [(512, 512), (300, 40), (40, 300), (28, 28), (8, 8), (3, 2000), (1, 1)]
)
def test_a_photo_fills_its_room_and_no_more(size, n_bytes):
    height, width = choose_size(size, n_bytes)
    assert min(height, width) >= 1 and max(height, width) <= 400
    if height > size[0]:
        assert height % size[0] == 0 == width % size[1]
    picture = resize(make_noisy(size), (height, width))
    assert picture.shape == (height, width, 3) and picture.dtype == np.uint8
    file = encode(picture, n_bytes)
    assert len(file) <= n_bytes
    decoded = np.asarray(Image.open(io.BytesIO(file))).astype(int)
    assert decoded.shape == picture.shape
    assert np.abs(decoded - picture).mean() < 15


def test_the_proportions_stay():
    height, width = choose_size((200, 800), 2_000)
    assert height < 200 and abs(width / height - 4) < 0.2


def test_pure_noise_fits_too():
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    size = choose_size(noise.shape[:2], 1_500)
    assert len(encode(resize(noise, size), 1_500)) <= 1_500


def test_enlarged_pixels_are_repeated():
    image = np.array([[[10.4], [300.0]], [[-5.0], [np.nan]]])
    assert resize(image, (4, 4))[..., 0].tolist() == [[10, 10, 255, 255]] * 2 + [[0, 0, 0, 0]] * 2


def test_the_quality_is_as_high_as_there_is_room():
    picture = make_noisy((100, 100))
    sizes = [len(encode(picture, room)) for room in (1_500, 5_000, 50_000)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[1] < sizes[2] < 50_000
