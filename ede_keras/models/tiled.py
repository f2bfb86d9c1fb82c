"""A detector of large images: the same detector on every tile of them."""

import math

import keras
import numpy as np
from keras import ops

from ede_keras.errors import InputError
from ede_keras.layers.anomaly_score import AnomalyScore
from ede_keras.models.detector import AnomalyDetector
from ede_keras.utils import validation
from ede_keras.utils.validation import check_range

# Tiles that are trained on, and held out, at the most; of more a random choice, always the same.
MAX_TILES = 8192


def tile_starts(length, tile, stride):
    """Where tiles begin along a side: evenly, no further apart than `stride`, to its very end."""
    n = -(-(length - tile) // stride) + 1  # rounded up
    return np.round(np.linspace(0, length - tile, n)).astype(int)


def tile_table(height, width, tile, stride):
    """Which pixels each tile has: int32 `(T, tile * tile)`, positions in the flattened image."""
    rows, columns = (
        tile_starts(side, tile, stride)[:, None] + np.arange(tile) for side in (height, width)
    )
    table = rows[:, None, :, None] * width + columns[None, :, None, :]
    return table.reshape(-1, tile * tile).astype("int32")


def default_stride(tile):
    return max(tile // 2, 1)


def count_tiles(image_shape, tile, stride=None):
    """How many tiles an image of `(height, width, channels)` has; 1 if it is smaller than one."""
    stride = stride or default_stride(tile)
    counts = (len(tile_starts(max(side, tile), tile, stride)) for side in image_shape[:2])
    return math.prod(counts)


@keras.saving.register_keras_serializable(package="ede_keras")
class Tiles(keras.layers.Layer):
    """All tiles of every image, `(n · T, tile, tile, c)`, those of an image in a row."""

    def __init__(self, height, width, tile, stride, **kwargs):
        super().__init__(**kwargs)
        self.arguments = {"height": height, "width": width, "tile": tile, "stride": stride}
        self.table = tile_table(**self.arguments)
        self.covered = np.bincount(self.table.ravel(), minlength=height * width)

    def call(self, images):
        tile, channels = self.arguments["tile"], images.shape[-1]
        pixels = ops.reshape(images, (-1, len(self.covered), channels))
        tiles = ops.take(pixels, self.table, axis=1)
        return ops.reshape(tiles, (-1, tile, tile, channels))

    def merge(self, tiles):
        """What `(n · T, tile, tile, c)` tiles make of their images, `(n, height, width, c)`: the
        mean of those that overlap."""
        channels = tiles.shape[-1]
        # The pixels first, for sums over segments are sums over the first axis.
        values = ops.reshape(tiles, (-1, self.table.size, channels))
        values = ops.transpose(values, (1, 0, 2))
        sums = ops.segment_sum(values, self.table.ravel(), len(self.covered))
        means = ops.transpose(sums, (1, 0, 2)) / self.covered[:, None].astype("float32")
        size = self.arguments["height"], self.arguments["width"]
        return ops.reshape(means, (-1, *size, channels))

    def compute_output_shape(self, images_shape):
        tile = self.arguments["tile"]
        return None, tile, tile, images_shape[-1]

    def get_config(self):
        return {**super().get_config(), **self.arguments}


@keras.saving.register_keras_serializable(package="ede_keras")
class TiledDetector(AnomalyDetector):
    """A detector of tiles as one of whole images, which may be larger than its networks.

    An image is as anomalous as its most anomalous tile, and its anomaly map is the mean of the
    tiles' maps where they overlap. It is trained, calibrated, saved and exported as an `EDE` is.

    Args:
        detector: An `EDE` or variant, compiled if it is to be trained; its images are the tiles,
            square.
        image_shape: `(height, width, channels)` of the images, none of its sides shorter than a
            tile.
        stride: Pixels from one tile to the next at the most; by default half a tile.
        contamination: Share of held-out normal images that the threshold may call anomalous, in
            [0, 1).
        name: Name of the model.

    Example:
        >>> detector = EDE.from_recipe("default", (64, 64, 3))
        >>> model = TiledDetector(detector, image_shape=(256, 256, 3))
        >>> model.fit(normal_images, batch_size=16, epochs=8)
        >>> model.calibrate(normal_images, held_out=other_normal_images)
    """

    views = None
    equation8_weights = (1.0,)

    def __init__(self, detector, image_shape, stride=None, contamination=0.05, name="tiled"):
        image_shape = [int(side) for side in image_shape]
        tile, width, channels = detector.image_shape
        stride = stride or default_stride(tile)
        check_range("contamination", 0 <= contamination < 1, contamination, "at least 0, below 1")
        check_range("stride", 1 <= stride <= tile, stride, f"1 to {tile}, the tile's size")
        fits = len(image_shape) == 3 and image_shape[2] == channels and tile == width
        if not fits or min(image_shape[:2]) < tile:
            raise InputError(
                f"`image_shape` must be (height, width, {channels}), sides at least as long as a "
                f"square tile's. Received: image_shape={tuple(image_shape)}, tiles of "
                f"{tuple(detector.image_shape)}"
            )
        self.image_shape, self.stride, self.contamination = image_shape, stride, contamination
        self._predictors = {}
        self.detector = detector
        self.tiles = Tiles(*image_shape[:2], tile, stride, name="tiles")
        self.anomaly_score = AnomalyScore(self.equation8_weights, name="anomaly_score")

        # === Functional model ===
        images = keras.Input(image_shape, name="images")
        cut = self.tiles(images)
        found = detector(cut)
        self._terms = {"worst_tile": ops.max(self._by_image(found["score"]), axis=1)}
        score, label = self.anomaly_score(list(self._terms.values()))
        anomaly_map = self.tiles.merge(ops.expand_dims(found["anomaly_map"], -1))
        outputs = {
            "score": score,
            "label": label,
            "anomaly_map": ops.squeeze(anomaly_map, axis=-1),
        }
        inner = keras.Model(detector.inputs, [detector._latents, detector._reconstruction])
        latents, reconstructions = inner(cut)
        self._latents = self._by_image(latents)
        self._reconstruction = self.tiles.merge(reconstructions)
        super().__init__(inputs=images, outputs=outputs, name=name)

    @property
    def relative_size(self):
        """How much more the networks see of an image than 32 x 32 pixels."""
        return len(self.tiles.table) * self.detector.relative_size

    def _by_image(self, values):
        """Values of tiles, `(n · T, ...)`, as a row for each image."""
        width = len(self.tiles.table) * int(np.prod(values.shape[1:]))
        return ops.reshape(values, (-1, width))

    @property
    def omega1(self):
        """ω1 of Equation (8), of the tiles' scores."""
        return self.detector.omega1

    def cut(self, images):
        """Tiles to train on, `(n, tile, tile, c)`, of the images' dtype, `MAX_TILES` at the most.

        Args:
            images: Array `(n, height, width, c)`.
        """
        validation.check_images(images, self.image_shape)
        if not hasattr(images, "__array__"):
            raise InputError(
                f"Expected an array of images to cut. Received: {type(images).__name__}"
            )
        images = np.asarray(images)
        table = self.tiles.table
        chosen = np.random.default_rng(0).permutation(len(images) * len(table))[:MAX_TILES]
        tiles = np.empty((len(chosen), *self.detector.image_shape), images.dtype)
        for i, position in enumerate(np.sort(chosen)):
            image, tile = divmod(position, len(table))
            pixels = images[image].reshape(-1, images.shape[-1])[table[tile]]
            tiles[i] = pixels.reshape(tiles.shape[1:])
        return tiles

    def fit(self, x, **kwargs):
        """Trains the detector of tiles, `EDE.fit`, on the tiles of normal images.

        Args:
            x: Array of normal images, `(n, *image_shape)`, 0 to 255.
            **kwargs: As in `keras.Model.fit`; `validation_data` are images, too.
        """
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"] = self.cut(kwargs["validation_data"])
        return self.detector.fit(self.cut(x), **kwargs)

    def calibrate(self, train_normals, held_out=None, verbose=0):
        """`AnomalyDetector.calibrate`, of the tiles first, then of the whole images."""
        if held_out is None:
            train_normals, held_out = self._set_aside(train_normals)
        self.detector.calibrate(self.cut(train_normals), self.cut(held_out), verbose)
        return super().calibrate(train_normals, held_out, verbose)

    def get_config(self):
        return {
            "detector": keras.saving.serialize_keras_object(self.detector),
            "image_shape": list(self.image_shape),
            "stride": self.stride,
            "contamination": self.contamination,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        detector = keras.saving.deserialize_keras_object(config["detector"])
        return cls(**{**config, "detector": detector})
