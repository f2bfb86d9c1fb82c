"""What an EDE takes for its image x: the pixels, or what a frozen network sees of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from ede_keras.backbones.backbone import Backbone
from ede_keras.layers import networks
from ede_keras.layers.anomaly_map import PlaceMap, ResidualMap
from ede_keras.layers.damage import add_noise, damage
from ede_keras.layers.feature_memory import FeatureMemory, highest_mean
from ede_keras.layers.feature_networks import (
    build_feature_decoder,
    build_feature_encoder,
    latent_length,
)
from ede_keras.layers.feature_row import FeatureRow, FeatureScaling, FeatureShape
from ede_keras.layers.image_memory import ImageMemory
from ede_keras.layers.image_sizes import is_small, size_for_networks
from ede_keras.layers.lighting import Lighting
from ede_keras.models import losses
from ede_keras.models.arguments import EDEArguments

# The map's peak can be the score by itself: a small defect is lost in what other terms average.
LONE_TERM = "map_peak"
# The weights beside Equation (8) of the terms that come with an `ImageMemory`. Chosen on classes of
# the MNIST, Fashion-MNIST and CIFAR-10 training parts, on elpv and on drawn parts.
OF_IMAGES = {"nearest_image": 2.0, LONE_TERM: 1.0}
# Share of z that a decoder of features does not get in a training step.
DROPOUT = 0.3


class FeatureSettings(NamedTuple):
    """How a feature row is scaled, and what of it counts how much in the score.

    Args:
        by_channel: As in `FeatureScaling`.
        vector_share: The vector's part of an image term of Equation (8); the places have the rest.
        memory: Weights of the memory's terms, by name.
    """

    by_channel: bool
    vector_share: float
    memory: Mapping[str, float]


# Chosen on classes of the CIFAR-10 and Fashion-MNIST training parts: the places of an enlarged
# image have no detail.
OF_SMALL_IMAGES = FeatureSettings(True, 0.95, {"nearest_vector": 0.9, "nearest_place": 0.05})
# Chosen on elpv and deeppcb, parts with defects: both count equally.
OF_LARGE_IMAGES = FeatureSettings(False, 0.5, {"nearest_vector": 0.5, "nearest_place": 0.5})


class PixelSpace:
    """x is the image itself, `(n, size, size, c)` in [-1, 1].

    Args:
        image_shape: `(height, width, channels)` of the original images.
        arguments: The arguments of the model.
    """

    memory: ImageMemory | None = None
    memory_weights: Mapping[str, float] = {}
    lone_term: str | None = None
    lighting: Lighting | None = None

    def __init__(self, image_shape: Sequence[int], arguments: EDEArguments):
        size = arguments.image_size
        assert size is not None  # as `resolve` leaves it
        self.image_shape = image_shape
        self.preprocessor = networks.build_preprocessor(image_shape, size)
        self.shape: tuple[int, ...] = (size, size, image_shape[-1])
        self.mirror = arguments.mirror
        if arguments.lighting:
            self.lighting = Lighting(arguments.lighting, name="lighting")
        residuals = ["residual"]
        if arguments.components:
            self.memory = ImageMemory(
                self.shape, arguments.components, arguments.memory_size, name="image_memory"
            )
            self.memory_weights, self.lone_term = OF_IMAGES, LONE_TERM
            residuals.append("components")
        self.map_layer: ResidualMap | PlaceMap = ResidualMap(residuals, (size, size), name="map")
        self.latent_shape: tuple[int, ...] = (arguments.latent_dim,)
        self.network_arguments: tuple = (
            size,
            image_shape[-1],
            arguments.latent_dim,
            arguments.base_width,
        )
        self.builders: tuple[Any, Any] = networks.build_encoder, networks.build_decoder
        # The number of pixels that the networks see, as a multiple of 32 x 32; at least 1.
        self.relative_size = max(size / 32, 1) ** 2

    def prepare(self, images: Any) -> Any:
        """X of raw images `(n, *image_shape)`, 0 to 255."""
        return self.preprocessor(images)

    def augment(self, x: Any, step: Any) -> Any:
        """A training batch in other light; with `mirror`, every other image is flipped."""
        if self.lighting:
            x = self.lighting(x, step=step)
        if not self.mirror:
            return x
        # Batches are shuffled, so which images are the odd ones is random enough.
        odd = ops.arange(ops.shape(x)[0]) % 2 == 1
        return ops.where(odd[:, None, None, None], ops.flip(x, axis=2), x)

    def damage(self, x: Any, share: Any, step: Any) -> Any:
        """A batch in which a share of the images is damaged."""
        return damage(x, share, step)

    def thin(self, z: Any, step: Any) -> Any:
        """Latent vectors as decoders get them in training: unchanged."""
        del step
        return z

    def networks_part(self, x: Any) -> Any:
        """What of x the networks encode and reconstruct: all of it."""
        return x

    def see(self, images: Any) -> tuple[Any, None]:
        """`(x, None)`: x of raw images `(n, *image_shape)`, 0 to 255; there are no features."""
        return self.preprocessor(images), None

    def compare(self, name: str, x: Any, y: Any, norm: str) -> dict[str, Any]:
        """The distance of each pair, `(n,)`, as terms of the score by name."""
        return {name: losses.distance(x, y, norm)}

    def share(self, weights: Mapping[str, float]) -> dict[str, float]:
        """The weights of Equation (8) as those of `compare`'s terms; here they are the same."""
        return dict(weights)

    def recall(self, x: Any) -> tuple[dict, dict]:
        """The distance to the nearest normal image, a term; and what components leave, a map."""
        if self.memory is None:
            return {}, {}
        distance, residual = self.memory(x)
        return {"nearest_image": distance}, {"components": residual}

    def draw(self, x: Any, reconstruction: Any, maps: dict) -> tuple[dict[str, Any], dict]:
        """The map and the reconstruction at full size, for `DetectorGraph`; and the map's term."""
        maps = {"residual": ops.mean(ops.abs(x - reconstruction), axis=-1), **maps}
        deviations = self.map_layer(maps)
        terms = {LONE_TERM: ops.max(deviations, axis=(1, 2))} if self.memory else {}
        full = networks.resize(ops.expand_dims(deviations, -1), self.image_shape[:2])
        return {
            "anomaly_map": ops.squeeze(full, axis=-1),
            "reconstruction": networks.resize(reconstruction, self.image_shape[:2]),
            "maps": maps,
        }, terms


class FeatureSpace:
    """x is a row of features, `(n, row_length)`: a vector of the whole image, a map of places.

    The image itself, small, follows them for a pretext that is named; see `ImagePretext`.

    Args:
        image_shape: `(height, width, channels)` of the original images.
        arguments: The arguments of the model.
        backbone: The frozen network.
    """

    lone_term: str | None = None
    lighting: Lighting | None = None  # the backbone has seen all kinds

    def __init__(self, image_shape: Sequence[int], arguments: EDEArguments, backbone: Backbone):
        size = arguments.image_size
        assert size is not None  # as `resolve` leaves it
        images = keras.Input(image_shape, name="images")
        maps = backbone(self._as_rgb(networks.shrink(images, size)))
        self.backbone = backbone
        self.features = FeatureShape.of_maps([tuple(m.shape) for m in maps])
        rows = FeatureRow()(maps)
        if isinstance(arguments.pretext, str) and arguments.pretext != "none":
            small = networks.build_preprocessor(image_shape, size_for_networks(image_shape))
            rows = ops.concatenate([rows, keras.layers.Flatten()(small(images))], axis=-1)
        self.extractor = keras.Model(images, rows, name="extractor")
        self.row_length = rows.shape[-1]
        self.settings = OF_SMALL_IMAGES if is_small(image_shape) else OF_LARGE_IMAGES
        self.scaling = FeatureScaling(
            self.features, self.settings.by_channel, name="feature_scaling"
        )
        rows = self.scaling(self.extractor(images))
        self.preprocessor = keras.Model(images, rows, name="preprocessor")
        self.memory = FeatureMemory(self.features, arguments.memory_size, name="feature_memory")
        self.memory_weights = self.settings.memory
        self.map_layer = PlaceMap(("residual", "nearest_place"), image_shape[:2], name="place_map")
        self.shape: tuple[int, ...] = (self.features.length,)
        self.latent_shape: tuple[int, ...] = (latent_length(self.features, arguments.latent_dim),)
        self.network_arguments: tuple = (
            self.features,
            arguments.latent_dim,
            arguments.base_width,
        )
        self.builders: tuple[Any, Any] = build_feature_encoder, build_feature_decoder
        # A frozen network needs far less memory for each pixel than training from scratch.
        self.relative_size = max(size / 96, 1) ** 2

    @staticmethod
    def _as_rgb(images):
        """Grey images as three equal channels."""
        return images if images.shape[-1] == 3 else ops.repeat(images, 3, axis=-1)

    def prepare(self, images: Any) -> Any:
        """X of raw images `(n, *image_shape)`, 0 to 255, or of their features `(n, row_length)`."""
        return self.scaling(images) if len(images.shape) == 2 else self.preprocessor(images)

    def augment(self, x: Any, step: Any) -> Any:
        """A training batch: as it is."""
        del step
        return x

    def damage(self, x: Any, share: Any, step: Any) -> Any:
        """A batch in which a share of the rows has noise."""
        return add_noise(x, share, step)

    def thin(self, z: Any, step: Any) -> Any:
        """Latent vectors as decoders get them in training: a random share of `DROPOUT` left out.

        The EDEs then cannot learn single images by heart, and phase 2 stays stable over few of
        them. What is left out depends on the step alone, so a resumed run repeats it.
        """
        seed = ops.stack([0, ops.cast(step, "int32")])
        kept = tf.random.stateless_uniform(ops.shape(z), seed) >= DROPOUT
        return z * ops.cast(kept, z.dtype) / (1 - DROPOUT)

    def networks_part(self, x: Any) -> Any:
        """What of x the networks encode and reconstruct, `(n, length)`: the features."""
        return x[:, : self.features.length]

    def see(self, images: Any) -> tuple[Any, Any]:
        """`(x, features)` of raw images, 0 to 255; the features are rows that are not scaled."""
        features = self.extractor(images)
        return self.scaling(features), features

    def compare(self, name: str, x: Any, y: Any, norm: str) -> dict[str, Any]:
        """The distance of each pair's vectors, and of its places, as terms of the score by name."""
        (vectors, places), (vectors2, places2) = map(self.features.split, (x, y))
        return {
            f"{name}_vector": losses.distance(vectors, vectors2, norm),
            f"{name}_places": highest_mean(losses.distance_by_place(places, places2, norm)),
        }

    def share(self, weights: Mapping[str, float]) -> dict[str, float]:
        """The weights of Equation (8) as those of `compare`'s terms."""
        shared = {}
        for name, weight in weights.items():
            if name.startswith("x"):
                shared[f"{name}_vector"] = self.settings.vector_share * weight
                shared[f"{name}_places"] = (1 - self.settings.vector_share) * weight
            else:
                shared[name] = weight
        return shared

    def recall(self, x: Any) -> tuple[dict, dict]:
        """The distances to the nearest normal vector and places: terms and maps by name."""
        terms, nearest_places = self.memory(x)
        return terms, {"nearest_place": nearest_places}

    def draw(self, x: Any, reconstruction: Any, maps: dict) -> tuple[dict[str, Any], dict]:
        """The anomaly map and what it is made from, for `DetectorGraph`; there are no terms."""
        places, places2 = (self.features.split(rows)[1] for rows in (x, reconstruction))
        residual = ops.mean(ops.square(places - places2), axis=-1)
        size = (-1, self.features.height, self.features.width)
        maps = {"residual": ops.reshape(residual, size), **maps}
        # Features give no image back.
        return {"anomaly_map": self.map_layer(maps), "reconstruction": None, "maps": maps}, {}


def make_space(
    image_shape: Sequence[int], arguments: EDEArguments, backbone: Backbone | None
) -> PixelSpace | FeatureSpace:
    """The space of a model's x: features if there is a backbone, else pixels."""
    if backbone is None:
        return PixelSpace(image_shape, arguments)
    return FeatureSpace(image_shape, arguments, backbone)
