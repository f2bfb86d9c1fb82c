"""A detector for large images: the same small detector on every tile."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from ede_keras.errors import InputError
from ede_keras.models.detector import AnomalyDetector
from ede_keras.models.detector_graph import DetectorGraph
from ede_keras.utils.validation import check_images, check_range

# Maximum number of tiles to train on or to hold out; of more, always the same random subset.
MAX_TILES = 8192


def tile_starts(length: int, tile: int, stride: int) -> np.ndarray:
    """Where tiles begin along a side: evenly spaced, at most `stride` apart, up to its end."""
    n = -(-(length - tile) // stride) + 1  # rounded up
    return np.round(np.linspace(0, length - tile, n)).astype(int)


def tile_table(height: int, width: int, tile: int, stride: int) -> np.ndarray:
    """The pixels of each tile: int32 `(T, tile * tile)`, positions in the flattened image."""
    rows, columns = (
        tile_starts(side, tile, stride)[:, None] + np.arange(tile) for side in (height, width)
    )
    table = rows[:, None, :, None] * width + columns[None, :, None, :]
    return table.reshape(-1, tile * tile).astype("int32")


def default_stride(tile: int) -> int:
    """Half a tile."""
    return max(tile // 2, 1)


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
    counts = (len(tile_starts(max(side, tile), tile, stride)) for side in image_shape[:2])
    return math.prod(counts)


def cut_tiles(images: np.ndarray, tile: int, stride: int | None = None) -> np.ndarray:
    """Tiles to train on, of the images' dtype; warns if there are more than `MAX_TILES`.

    Args:
        images: Array `(n, height, width, c)`.
        tile: Height and width of a tile.
        stride: Pixels from one tile to the next, at most. Defaults to half a tile.

    Returns:
        `(m, tile, tile, c)`, m at most `MAX_TILES`, a random subset if there are more.
    """
    if not hasattr(images, "__array__"):
        raise InputError(
            f"Expected an array of images to cut into tiles. Received: {type(images).__name__}"
        )
    images = np.asarray(images)
    height, width = images.shape[1:3]
    table = tile_table(height, width, tile, stride or default_stride(tile))
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
    """All tiles of every image, `(n · T, tile, tile, c)`, those of an image in a row."""

    def __init__(self, height: int, width: int, tile: int, stride: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.arguments = {"height": height, "width": width, "tile": tile, "stride": stride}
        self.table = tile_table(**self.arguments)
        self.covered = np.bincount(self.table.ravel(), minlength=height * width)

    def call(self, images: Any) -> Any:
        """Cuts `(n, height, width, c)` images."""
        tile, channels = self.arguments["tile"], images.shape[-1]
        pixels = ops.reshape(images, (-1, len(self.covered), channels))
        tiles = ops.take(pixels, self.table, axis=1)
        return ops.reshape(tiles, (-1, tile, tile, channels))

    def merge(self, tiles: Any) -> Any:
        """Tiles `(n · T, tile, tile, c)` as images `(n, height, width, c)`, overlaps averaged."""
        channels = tiles.shape[-1]
        # The pixels first, because sums over segments are sums over the first axis.
        values = ops.reshape(tiles, (-1, self.table.size, channels))
        values = ops.transpose(values, (1, 0, 2))
        sums = ops.segment_sum(values, self.table.ravel(), len(self.covered))
        means = ops.transpose(sums, (1, 0, 2)) / self.covered[:, None].astype("float32")
        size = self.arguments["height"], self.arguments["width"]
        return ops.reshape(means, (-1, *size, channels))

    def compute_output_shape(self, images_shape):
        """`(None, tile, tile, c)`."""
        tile = self.arguments["tile"]
        return None, tile, tile, images_shape[-1]

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), **self.arguments}


@keras.saving.register_keras_serializable(package="ede_keras")
class TiledDetector(AnomalyDetector):
    """Scores whole images by their tiles: a detector of tiles for images of any larger size.

    An image's score is that of its most anomalous tile, and its anomaly map is the mean of the
    tiles' maps where they overlap. It is trained, calibrated, saved and exported like an `EDE`.

    Args:
        detector: An `EDE` or variant whose images are the tiles, square; compiled if it is to be
            trained.
        image_shape: `(height, width, channels)` of the images; no side is shorter than a tile.
        stride: Pixels from one tile to the next, at most. Defaults to half a tile.
        contamination: Share of held-out normal images, in [0, 1), that may score above the
            threshold.
        name: Name of the model.

    Raises:
        InputError: The images are smaller than a tile, or an argument is out of range.

    Example:
        >>> detector = EDE.from_recipe("default", (64, 64, 3))
        >>> model = TiledDetector(detector, image_shape=(256, 256, 3))
        >>> model.fit(normal_images, batch_size=16, epochs=8)
        >>> model.calibrate(normal_images, held_out=other_normal_images)
    """

    score_weights: Mapping[str, float] = {"worst_tile": 1.0}

    def __init__(
        self,
        detector: AnomalyDetector,
        image_shape: Sequence[int],
        stride: int | None = None,
        contamination: float = 0.05,
        name: str = "tiled",
    ):
        image_shape = [int(side) for side in image_shape]
        tile = detector.image_shape[0]
        stride = stride or default_stride(tile)
        check_range("contamination", 0 <= contamination < 1, contamination, "at least 0, below 1")
        check_tiling(image_shape, detector.image_shape, stride)
        self.image_shape, self.stride, self.contamination = image_shape, stride, contamination
        self.omega1 = detector.omega1
        self.detector = detector
        height, width, _ = image_shape
        self.tiles = Tiles(height, width, tile, stride, name="tiles")

        # === Functional model ===
        images = keras.Input(image_shape, name="images")
        cut = self.tiles(images)
        found = detector(cut)
        anomaly_map = self.tiles.merge(ops.expand_dims(found["anomaly_map"], -1))
        latents = keras.Model(detector.inputs, detector.graph.latents)(cut)
        reconstruction = None  # nor has a detector with a backbone
        if detector.graph.reconstruction is not None:
            parts = keras.Model(detector.inputs, detector.graph.reconstruction)(cut)
            reconstruction = self.tiles.merge(parts)
        graph = DetectorGraph(
            images=images,
            terms={"worst_tile": ops.max(self._by_image(found["score"]), axis=1)},
            latents=self._by_image(latents),
            reconstruction=reconstruction,
            anomaly_map=ops.squeeze(anomaly_map, axis=-1),
        )
        super().__init__(graph, name=name)
        self.fix("stride", "contamination", "omega1", "detector", "tiles")

    @property
    def relative_size(self) -> float:
        """The number of pixels the networks see per image, as a multiple of 32 x 32; at least 1."""
        return len(self.tiles.table) * self.detector.relative_size

    def _by_image(self, values):
        """Values of tiles, `(n · T, ...)`, as a row for each image."""
        width = len(self.tiles.table) * int(np.prod(values.shape[1:]))
        return ops.reshape(values, (-1, width))

    def cut(self, images: np.ndarray) -> np.ndarray:
        """Tiles to train on: `cut_tiles` with the model's tile and stride."""
        check_images(images, self.image_shape)
        return cut_tiles(images, self.detector.image_shape[0], self.stride)

    def fit(self, x: np.ndarray, **kwargs: Any) -> keras.callbacks.History:
        """Trains the detector of tiles, `EDE.fit`, on the tiles of normal images.

        Args:
            x: Array of normal images, `(n, *image_shape)`, 0 to 255.
            **kwargs: As in `keras.Model.fit`; `validation_data` are images, too.
        """
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"] = self.cut(kwargs["validation_data"])
        return self.detector.fit(self.cut(x), **kwargs)

    def calibrate(self, train_normals: Any, held_out: Any = None, verbose: int = 0) -> dict:
        """`AnomalyDetector.calibrate`, first for the tiles, then for whole images."""
        if held_out is None:
            train_normals, held_out = self._set_aside(train_normals)
        self.detector.calibrate(self.cut(train_normals), self.cut(held_out), verbose)
        return super().calibrate(train_normals, held_out, verbose)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {
            "detector": keras.saving.serialize_keras_object(self.detector),
            "image_shape": list(self.image_shape),
            "stride": self.stride,
            "contamination": self.contamination,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """The model of a config, with new weights."""
        detector = keras.saving.deserialize_keras_object(config["detector"])
        return cls(**{**config, "detector": detector})
