"""Tiles of large images: how they are cut, and how their maps are blended."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ede_keras.errors import InputError
from ede_keras.utils.checks import check_range

# Maximum number of tiles to train on or to hold out; of more, always the same random subset.
MAX_TILES = 8192


def tile_starts(length: int, tile: int, stride: int) -> np.ndarray:
    """Where tiles begin along a side: evenly spaced, at most `stride` apart, up to its end."""
    n = -(-(length - tile) // stride) + 1  # rounded up
    return np.round(np.linspace(0, length - tile, n)).astype(int)


def _tile_side(length, tile, stride, margin):
    """Positions along a side of each tile's pixels, and which of them are inside of the image.

    Tiles reach beyond the border by `margin`; the image is mirrored there.
    """
    starts = tile_starts(length + 2 * margin, tile, stride) - margin
    positions = starts[:, None] + np.arange(tile)
    inside = (positions >= 0) & (positions < length)
    positions = np.where(positions < 0, -1 - positions, positions)
    return np.where(positions >= length, 2 * length - 1 - positions, positions), inside


def tile_table(
    height: int, width: int, tile: int, stride: int, margin: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of each tile, and their weights where tiles are merged.

    Args:
        height: Height of the image.
        width: Its width.
        tile: Height and width of a tile.
        stride: Pixels from one tile to the next, at most.
        margin: Pixels by which tiles reach beyond the border, where the image is mirrored.

    Returns:
        `(table, weights)`, both `(T, tile * tile)`: int32 positions in the flattened image, and
        float32 weights. They fall from the middle of a tile to its edges, so that there are no
        seams, and are 0 for mirrored pixels.
    """
    (rows, rows_in), (columns, columns_in) = (
        _tile_side(side, tile, stride, margin) for side in (height, width)
    )
    table = rows[:, None, :, None] * width + columns[None, :, None, :]
    fall = 1 - np.abs(2 * np.arange(tile) + 1 - tile) / tile + 1 / tile  # above 0 at the edges
    vertical, horizontal = rows_in * fall, columns_in * fall
    weights = vertical[:, None, :, None] * horizontal[None, :, None, :]
    shape = (-1, tile * tile)
    return table.reshape(shape).astype("int32"), weights.reshape(shape).astype("float32")


def default_stride(tile: int) -> int:
    """Half a tile."""
    return max(tile // 2, 1)


def default_margin(tile: int) -> int:
    """An eighth of a tile: networks see less of what is near a tile's edge."""
    return tile // 8


def check_tiling(image_shape: Sequence[int], tile_shape: Sequence[int], stride: int | None) -> None:
    """Raises an `InputError` unless such images can be cut into such tiles."""
    tile, width, channels = tile_shape
    stride = stride or default_stride(tile)
    check_range("stride", 1 <= stride <= tile, stride, f"from 1 to {tile}, the tile's size")
    fits = len(image_shape) == 3 and image_shape[2] == channels and tile == width
    if not fits or min(image_shape[:2]) < tile:
        raise InputError(
            f"`image_shape` must be (height, width, {channels}), with sides at least as long as a "
            f"square tile's. Received: image_shape={tuple(image_shape)}, tiles of "
            f"{tuple(tile_shape)}"
        )


def count_tiles(image_shape: Sequence[int], tile: int, stride: int | None = None) -> int:
    """Number of tiles of an image `(height, width, channels)`; 1 if it is smaller than a tile."""
    stride = stride or default_stride(tile)
    sides = (max(side, tile) + 2 * default_margin(tile) for side in image_shape[:2])
    counts = (len(tile_starts(side, tile, stride)) for side in sides)
    return math.prod(counts)


def cut_tiles(
    images: np.ndarray, tile: int, stride: int | None = None, margin: int | None = None
) -> np.ndarray:
    """Tiles to train on, of the images' dtype; warns if there are more than `MAX_TILES`.

    Args:
        images: Array `(n, height, width, c)`.
        tile: Height and width of a tile.
        stride: Pixels from one tile to the next, at most. Defaults to half a tile.
        margin: As in `tile_table`. Defaults to an eighth of a tile.

    Returns:
        `(m, tile, tile, c)`, m at most `MAX_TILES`, a random subset if there are more.
    """
    if not hasattr(images, "__array__"):
        raise InputError(
            f"Expected an array of images to cut into tiles. Received: {type(images).__name__}"
        )
    images = np.asarray(images)
    height, width = images.shape[1:3]
    margin = default_margin(tile) if margin is None else margin
    table, _ = tile_table(height, width, tile, stride or default_stride(tile), margin)
    n_tiles = len(images) * len(table)
    if n_tiles > MAX_TILES:
        warnings.warn(
            f"{MAX_TILES} of {n_tiles} tiles are used, chosen at random: more would take long and "
            "add little. A larger stride makes fewer tiles.",
            stacklevel=3,
        )
    chosen = np.random.default_rng(0).permutation(n_tiles)[:MAX_TILES]
    tiles = np.empty((len(chosen), tile, tile, images.shape[-1]), images.dtype)
    for i, position in enumerate(np.sort(chosen)):
        image, number = divmod(position, len(table))
        pixels = images[image].reshape(-1, images.shape[-1])[table[number]]
        tiles[i] = pixels.reshape(tiles.shape[1:])
    return tiles


@keras.saving.register_keras_serializable(package="ede_keras")
class Tiles(keras.layers.Layer):
    """All tiles of every image, `(n · T, tile, tile, c)`, those of an image in a row.

    Args:
        height: As in `tile_table`.
        width: As in `tile_table`.
        tile: As in `tile_table`.
        stride: As in `tile_table`.
        margin: As in `tile_table`.
    """

    def __init__(
        self, height: int, width: int, tile: int, stride: int, margin: int = 0, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.arguments = {"height": height, "width": width, "tile": tile}
        self.arguments |= {"stride": stride, "margin": margin}
        self.table, self.weights_of_pixels = tile_table(**self.arguments)
        self.total = np.bincount(
            self.table.ravel(), self.weights_of_pixels.ravel(), minlength=height * width
        ).astype("float32")

    def call(self, images: Any) -> Any:
        """Cuts `(n, height, width, c)` images."""
        tile, channels = self.arguments["tile"], images.shape[-1]
        pixels = ops.reshape(images, (-1, len(self.total), channels))
        tiles = ops.take(pixels, self.table, axis=1)
        return ops.reshape(tiles, (-1, tile, tile, channels))

    def merge(self, tiles: Any) -> Any:
        """Tiles `(n · T, tile, tile, c)` as images `(n, height, width, c)`, overlaps blended."""
        channels = tiles.shape[-1]
        # The pixels first, because sums over segments are sums over the first axis.
        values = ops.reshape(tiles, (-1, self.table.size, channels))
        values = values * self.weights_of_pixels.reshape(-1, 1)
        values = ops.transpose(values, (1, 0, 2))
        sums = ops.segment_sum(values, self.table.ravel(), len(self.total))
        means = ops.transpose(sums, (1, 0, 2)) / self.total[:, None]
        size = self.arguments["height"], self.arguments["width"]
        return ops.reshape(means, (-1, *size, channels))

    def compute_output_shape(self, images_shape):
        """`(None, tile, tile, c)`."""
        tile = self.arguments["tile"]
        return None, tile, tile, images_shape[-1]

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), **self.arguments}
