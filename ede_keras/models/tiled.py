"""A detector for large images: the same small detector on every tile."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from ede_keras.layers.tiles import Tiles, check_tiling, cut_tiles, default_margin, default_stride
from ede_keras.models import diagnosis
from ede_keras.models.detector import AnomalyDetector
from ede_keras.models.detector_graph import DetectorGraph
from ede_keras.utils.checks import check_range
from ede_keras.utils.validation import check_images

# Held-out images whose reconstruction is looked at.
_IMAGES_TO_CHECK = 16


@keras.saving.register_keras_serializable(package="ede_keras")
class TiledDetector(AnomalyDetector):
    """Scores whole images by their tiles: a detector of tiles for images of any larger size.

    An image's score is that of its most anomalous tile. Its anomaly map is that of the tiles,
    blended where they overlap. It is trained, calibrated, saved and exported like an `EDE`.

    Args:
        detector: An `EDE` or variant whose images are the tiles, square; compiled if it is to be
            trained.
        image_shape: `(height, width, channels)` of the images; no side is shorter than a tile.
        stride: Pixels from one tile to the next, at most. Defaults to half a tile.
        margin: Pixels by which tiles reach beyond the border, where the image is mirrored. Defaults
            to an eighth of a tile.
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
        margin: int | None = None,
        name: str = "tiled",
    ):
        image_shape = [int(side) for side in image_shape]
        tile = detector.image_shape[0]
        stride = stride or default_stride(tile)
        check_range("contamination", 0 <= contamination < 1, contamination, "at least 0, below 1")
        check_tiling(image_shape, detector.image_shape, stride)
        self.image_shape, self.stride, self.contamination = image_shape, stride, contamination
        self.margin = default_margin(tile) if margin is None else margin
        check_range("margin", 0 <= self.margin <= tile // 2, margin, f"from 0 to {tile // 2}")
        self.omega1 = detector.omega1
        self.detector = detector
        height, width, _ = image_shape
        self.tiles = Tiles(height, width, tile, stride, self.margin, name="tiles")

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
        self.fix("stride", "margin", "contamination", "omega1", "detector", "tiles")

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
        return cut_tiles(images, self.detector.image_shape[0], self.stride, self.margin)

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
        if self.graph.reconstruction is not None:
            some = np.asarray(held_out[:_IMAGES_TO_CHECK])
            diagnosis.warn_if_blurred(some, self.reconstruct(some))
        return super().calibrate(train_normals, held_out, verbose)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {
            "detector": keras.saving.serialize_keras_object(self.detector),
            "image_shape": list(self.image_shape),
            "stride": self.stride,
            "margin": self.margin,
            "contamination": self.contamination,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """The model of a config, with new weights."""
        detector = keras.saving.deserialize_keras_object(config["detector"])
        # Older files have no margin, and their tiles end at the border.
        return cls(**{"margin": 0, **config, "detector": detector})
