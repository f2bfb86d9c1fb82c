"""A detector for large images: the same small detector on every tile."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from ede_keras.errors import InputError
from ede_keras.layers.anomaly_map import LargestMap
from ede_keras.layers.tiles import Tiles, check_tiling, cut_tiles, default_margin, default_stride
from ede_keras.models import diagnosis
from ede_keras.models.detector import AnomalyDetector
from ede_keras.models.detector_graph import DetectorGraph
from ede_keras.utils.checks import check_range
from ede_keras.utils.validation import check_images

# Held-out images whose reconstruction is looked at.
_IMAGES_TO_CHECK = 16
# Maps are brought to scale by about so many places along a side.
_PLACES = 64
# In a config: the backbone of `whole` is the detector's.
_SHARED = "that of the tiles"


@keras.saving.register_keras_serializable(package="ede_keras")
class TiledDetector(AnomalyDetector):
    """Scores whole images by their tiles: a detector of tiles for images of any larger size.

    An image's score is that of its most anomalous tile. Its anomaly map is that of the tiles,
    blended where they overlap. It is trained, calibrated, saved and exported like an `EDE`.

    Tiles show small defects, but not a large one or one that depends on its place in the image. A
    second detector, `whole`, sees whole images for that. The score is then the sum of both scores,
    and each place of the map has the larger value of both maps. Scores and maps are brought to one
    scale by held-out normal images.

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
        whole: An `EDE` or variant for images of `image_shape`, compiled if it is to be trained.
            None leaves it out.

    Raises:
        InputError: The images are smaller than a tile, `whole` takes others, or an argument is out
            of range.

    Example:
        >>> detector = EDE.from_recipe("default", (64, 64, 3))
        >>> whole = EDE.from_recipe("default", (256, 256, 3))
        >>> model = TiledDetector(detector, image_shape=(256, 256, 3), whole=whole)
        >>> model.fit(normal_images, batch_size=16, epochs=8)
        >>> model.calibrate(normal_images, held_out=other_normal_images)
    """

    def __init__(
        self,
        detector: AnomalyDetector,
        image_shape: Sequence[int],
        stride: int | None = None,
        contamination: float = 0.05,
        margin: int | None = None,
        name: str = "tiled",
        whole: AnomalyDetector | None = None,
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
        if whole is not None and list(whole.image_shape) != image_shape:
            raise InputError(
                f"`whole` must be a detector of images of {tuple(image_shape)}. "
                f"Received: one of {tuple(whole.image_shape)}"
            )
        if whole is not None and whole.name == detector.name:
            whole.name = f"{whole.name}_whole"  # layers of a model need names of their own
        self.detector, self.whole = detector, whole
        height, width, _ = image_shape
        self.tiles = Tiles(height, width, tile, stride, self.margin, name="tiles")

        # === Functional model ===
        images = keras.Input(image_shape, name="images")
        cut = self.tiles(images)
        found = detector(cut)
        terms = {"worst_tile": ops.max(self._by_image(found["score"]), axis=1)}
        blended = self.tiles.merge(ops.expand_dims(found["anomaly_map"], -1))
        anomaly_map, maps = ops.squeeze(blended, axis=-1), {}
        if whole is not None:
            seen = whole(images)
            terms["whole_image"] = seen["score"]
            both = {"tiles": anomaly_map, "whole": seen["anomaly_map"]}
            step = max(min(height, width) // _PLACES, 1)
            maps = {name: values[:, ::step, ::step] for name, values in both.items()}
            self.map_layer = LargestMap(list(both), (height, width), name="largest_map")
            self.scale_terms = True
            anomaly_map = self.map_layer(both)
        latents = keras.Model(detector.inputs, detector.graph.latents)(cut)
        reconstruction = None  # nor has a detector with a backbone
        if detector.graph.reconstruction is not None:
            parts = keras.Model(detector.inputs, detector.graph.reconstruction)(cut)
            reconstruction = self.tiles.merge(parts)
        graph = DetectorGraph(
            images=images,
            terms=terms,
            latents=self._by_image(latents),
            reconstruction=reconstruction,
            anomaly_map=anomaly_map,
            maps=maps,
        )
        super().__init__(graph, name=name)
        self.fix("stride", "margin", "contamination", "omega1", "detector", "whole", "tiles")

    @property
    def score_weights(self) -> Mapping[str, float]:
        """The weight of each term of the score, by name."""
        names = ["worst_tile"] if self.whole is None else ["worst_tile", "whole_image"]
        return dict.fromkeys(names, 1.0 / len(names))

    @property
    def relative_size(self) -> float:
        """The number of pixels the networks see per image, as a multiple of 32 x 32; at least 1."""
        whole = self.whole.relative_size if self.whole else 0
        return len(self.tiles.table) * self.detector.relative_size + whole

    def _by_image(self, values):
        """Values of tiles, `(n · T, ...)`, as a row for each image."""
        width = len(self.tiles.table) * int(np.prod(values.shape[1:]))
        return ops.reshape(values, (-1, width))

    def cut(self, images: np.ndarray) -> np.ndarray:
        """Tiles to train on: `cut_tiles` with the model's tile and stride."""
        check_images(images, self.image_shape)
        return cut_tiles(images, self.detector.image_shape[0], self.stride, self.margin)

    def fit(self, x: np.ndarray, **kwargs: Any) -> keras.callbacks.History:
        """Trains the detectors, `EDE.fit`, on normal images and on their tiles.

        Args:
            x: Array of normal images, `(n, *image_shape)`, 0 to 255.
            **kwargs: As in `keras.Model.fit`, for both; `validation_data` are images, too.

        Returns:
            Keras' record of the losses on tiles.
        """
        if self.whole is not None:
            self.whole.fit(x, **kwargs)
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"] = self.cut(kwargs["validation_data"])
        return self.detector.fit(self.cut(x), **kwargs)

    def calibrate(
        self,
        train_normals: Any,
        held_out: Any = None,
        verbose: int = 0,
        tiles: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> dict:
        """`AnomalyDetector.calibrate`, first for its detectors, then for their sum.

        Args:
            train_normals: As there.
            held_out: As there.
            verbose: As there.
            tiles: `cut(train_normals)` and `cut(held_out)`, if they are at hand. A backbone's
                features of tiles that the detector was trained on are then not computed again.
        """
        if held_out is None:
            train_normals, held_out = self._set_aside(train_normals)
        cut, cut_held_out = tiles or (self.cut(train_normals), self.cut(held_out))
        self.detector.calibrate(cut, cut_held_out, verbose)
        if self.whole is not None:
            self.whole.calibrate(train_normals, held_out, verbose)
        if self.graph.reconstruction is not None:
            some = np.asarray(held_out[:_IMAGES_TO_CHECK])
            diagnosis.warn_if_blurred(some, self.reconstruct(some))
        return super().calibrate(train_normals, held_out, verbose)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        whole: Any = self.whole and keras.saving.serialize_keras_object(self.whole)
        backbone = getattr(self.detector, "backbone", None)
        if whole and backbone and getattr(self.whole, "backbone", None) is backbone:
            whole["config"]["backbone"] = _SHARED  # one set of weights, so one layer
        return {
            "detector": keras.saving.serialize_keras_object(self.detector),
            "whole": whole,
            "image_shape": list(self.image_shape),
            "stride": self.stride,
            "margin": self.margin,
            "contamination": self.contamination,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """The model of a config, with new weights."""
        # Older files have no margin, and their tiles end at the border; nor have they `whole`.
        config = {"margin": 0, "whole": None, **config}
        detector = keras.saving.deserialize_keras_object(config["detector"])
        if whole := config["whole"]:
            if whole["config"].get("backbone") == _SHARED:
                whole = {**whole, "config": {**whole["config"], "backbone": detector.backbone}}
            whole = keras.saving.deserialize_keras_object(whole)
        return cls(**{**config, "detector": detector, "whole": whole})
