"""Draws photographs of washers, good ones and ones with a defect, so that a detector can be tried.

  python -m benchmarks.drawn_parts --folder=path/to/sets/drawn_40 --n=40    # in MVTec AD's layout
  python -m benchmarks.parts --data_dir=path/to/sets --sets=drawn_40

Light, grain and place vary from image to image. The defects are small: a scratch 4 pixels wide, a
hole, or a piece that is missing from the rim, in images of 200 x 200 pixels. The test set has 100
good washers and 60 with each kind of defect, always the same ones.
"""

from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image
from scipy import ndimage

FLAGS = flags.FLAGS
N_GOOD, N_DEFECTIVE = 100, 60
KINDS = ("scratch", "hole", "missing_piece")
SIZE = 200
_INNER, _OUTER = 28, 80  # radii of the ring
_BACKGROUND, _METAL, _SCRATCH = 60, 150, 40  # grey values; a scratch is lighter or darker


def draw(n: int, seed: int, kind: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Draws n washers.

    Args:
        n: How many.
        seed: The same seed gives the same images.
        kind: One of `KINDS`; None for good ones.

    Returns:
        `(images, masks)`: uint8 `(n, 200, 200, 1)`, and bool `(n, 200, 200)`, True in the defect.
    """
    rng = np.random.default_rng(seed)
    drawn = [_draw_one(rng, kind) for _ in range(n)]
    images, masks = map(np.stack, zip(*drawn, strict=True))
    return images, masks


def _draw_one(rng, kind):
    y, x = np.mgrid[:SIZE, :SIZE]
    centre = SIZE / 2 + rng.normal(0, 2, 2)
    radius = np.hypot(y - centre[0], x - centre[1])
    background = _BACKGROUND + rng.normal(0, 1)
    metal = _METAL + rng.normal(0, 3)
    image = np.where((radius > _INNER) & (radius < _OUTER), metal, background)
    mask = np.zeros((SIZE, SIZE), bool)
    if kind:
        angle = rng.uniform(0, 2 * np.pi)
        direction = np.array([np.sin(angle), np.cos(angle)])
        mask, change = _DEFECTS[kind](rng, y, x, centre, direction)
        mask &= (radius > _INNER) & (radius < _OUTER)
        image = np.where(mask, background if change is None else image + change, image)
    image = ndimage.gaussian_filter(image, 1)
    image += 18 * ndimage.gaussian_filter(rng.normal(0, 1, image.shape), 2)
    image += rng.normal(0, 3, image.shape)
    return np.clip(image, 0, 255).astype("uint8")[..., None], mask


def _scratch(rng, y, x, centre, direction):
    top, left = centre + rng.uniform(38, 70) * direction
    turn, half = rng.uniform(0, np.pi), rng.uniform(15, 35) / 2
    along = (y - top) * np.sin(turn) + (x - left) * np.cos(turn)
    across = (y - top) * np.cos(turn) - (x - left) * np.sin(turn)
    return (np.abs(along) <= half) & (np.abs(across) <= 2), rng.choice([-1, 1]) * _SCRATCH


def _hole(rng, y, x, centre, direction):
    top, left = centre + rng.uniform(38, 70) * direction
    return np.hypot(y - top, x - left) < rng.uniform(3, 6), None


def _missing_piece(rng, y, x, centre, direction):
    top, left = centre + _OUTER * direction
    return np.hypot(y - top, x - left) < rng.uniform(7, 12), None


_DEFECTS = {"scratch": _scratch, "hole": _hole, "missing_piece": _missing_piece}


def define_flags():
    flags.DEFINE_string("folder", None, "Folder to write; it must not exist.", required=True)
    flags.DEFINE_integer("n", 40, "Number of good washers to train on.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of these.", lower_bound=0)


def _write(images, folder, suffix=""):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:03d}{suffix}.png")


def main(argv):
    del argv
    folder = Path(FLAGS.folder)
    if folder.exists():
        raise app.UsageError(f"Expected --folder, a folder to make. Received: {folder} exists")
    _write(draw(FLAGS.n, 1000 + FLAGS.seed)[0][..., 0], folder / "train/good")
    _write(draw(N_GOOD, 1)[0][..., 0], folder / "test/good")
    for i, kind in enumerate(KINDS):
        images, masks = draw(N_DEFECTIVE, 2 + i, kind)
        _write(images[..., 0], folder / "test" / kind)
        _write(masks.astype("uint8") * 255, folder / "ground_truth" / kind, "_mask")


if __name__ == "__main__":
    define_flags()
    app.run(main)
