"""The base of methods that compare images by the features of a frozen network."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from ede_keras.backbones.backbone import Backbone
from ede_keras.backbones.sources import LITE0, load_backbone
from ede_keras.utils import pipeline

# The backbone sees images enlarged to this size, a multiple of 32; its map is then 4 x 4.
SEEN_SIZE = 64
# Mean and deviation of the features are those over at most so many training images.
IMAGES_FOR_STATISTICS = 2000
# No deviation is smaller than this share of the mean one: channels that hardly vary among normal
# images would else outweigh all others.
LEAST_SHARE = 0.1
# What stands in for a deviation, or for the size of an image's features, that is 0 or near to it.
LEAST_DEVIATION, LEAST_SIZE = 1e-3, 1e-2


class Perceptual(keras.Model):
    """The part of a `Rival` with the relative perceptual L1 loss, which is its score, too.

    Of x and x̂ it is ‖f(x) − f(x̂)‖₁ / ‖f(x)‖₁ for the features f of a frozen network, here its
    map of stride 16, brought to mean 0 and deviation 1 in each channel. Only the part of the
    network up to that map is kept; it is saved with the model.

    A class has it before `Rival` or `Adversarial` among its bases, and defines the networks
    `encoder` and `decoder`, and the training.

    Args:
        image_shape: As for `Rival`.
        backbone: The frozen network: a `Backbone`, or what `load_backbone` takes.
        image_size: As for `Rival`. The backbone sees images of up to 64 pixels at 64 x 64.
        latent_dim: As for `Rival`.
        base_width: As for `Rival`.
        contamination: As for `Rival`.
        name: As for `Rival`.
    """

    score_weights: ClassVar[Mapping[str, float]] = {"perceptual": 1.0}

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        backbone: str | Backbone = LITE0,
        image_size: int | None = None,
        latent_dim: int | None = None,
        base_width: int = 32,
        contamination: float = 0.05,
        name: str | None = None,
    ):
        found = load_backbone(backbone) if isinstance(backbone, str) else backbone
        self.backbone = _cut(found)
        channels = self.backbone.network.outputs[0].shape[-1]
        self.normalized = NormalizedFeatures(channels, name="normalized")
        super().__init__(
            image_shape,
            image_size=image_size,
            latent_dim=latent_dim,
            base_width=base_width,
            contamination=contamination,
            name=name,
        )
        self.fix("backbone")

    @property
    def seen_size(self) -> int:
        """The size at which the backbone sees images; never smaller than the networks' own."""
        return max(SEEN_SIZE, 32 * -(-self.image_size // 32))

    @property
    def trained_networks(self) -> list[keras.Layer]:
        """Encoder and decoder."""
        return [self.encoder, self.decoder]

    def find_map(self, x: Any) -> Any:
        """The backbone's map of images x in [-1, 1], `(n, h, w, channels)`."""
        pixels = (x + 1) * 127.5
        if x.shape[-1] == 1:
            pixels = ops.repeat(pixels, 3, axis=-1)
        size = (self.seen_size, self.seen_size)
        return self.backbone(ops.image.resize(pixels, size, interpolation="bilinear"))

    def perceptual_loss(self, x: Any, reconstruction: Any) -> Any:
        """‖f(x) − f(x̂)‖₁ / ‖f(x)‖₁ of each image, `(n,)`."""
        f, other = (self.normalized(self.find_map(images)) for images in (x, reconstruction))
        distance, size = (ops.mean(ops.abs(m), axis=(1, 2, 3)) for m in (f - other, f))
        return distance / ops.maximum(size, LEAST_SIZE)

    def make_callback(self, images: Any, epochs: int) -> keras.callbacks.Callback:
        """Sets mean and deviation of the features before the first step, from images of `fit`."""
        del epochs

        def set_statistics(logs: Any) -> None:
            del logs
            if not float(self.normalized.is_set.numpy()):
                self.set_statistics(images)

        return keras.callbacks.LambdaCallback(on_train_begin=set_statistics)

    def set_statistics(self, images: Any) -> None:
        """Sets mean and deviation of the features to those of images, as `fit` takes them."""
        size = self.scale_batch_size(256)
        batches = pipeline.take_batches(pipeline.stream(images, size), IMAGES_FOR_STATISTICS)
        maps = [np.asarray(self.find_map(self.preprocessor(batch)), "float64") for batch in batches]
        found = np.concatenate(maps)
        self.normalized.set(found.mean(axis=(0, 1, 2)), found.std(axis=(0, 1, 2)))

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """The perceptual loss of x̂; z and x̂."""
        z = self.encoder(x, training=False)
        reconstruction = self.decoder(z, training=False)
        return {"perceptual": self.perceptual_loss(x, reconstruction)}, z, reconstruction

    def get_config(self) -> dict:
        """The arguments of the constructor; the backbone as its layers, so no file is needed."""
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """The model of a config, with new weights."""
        if isinstance(backbone := config.get("backbone"), dict):
            config = {**config, "backbone": keras.saving.deserialize_keras_object(backbone)}
        return cls(**config)


def _cut(backbone):
    """A backbone of the same layers that ends with its finest map, its only output."""
    network = backbone.network
    short = keras.Model(network.inputs, network.outputs[0], name=network.name)
    return Backbone(short, backbone.mean, backbone.scale, backbone.source, backbone.sha256)


@keras.saving.register_keras_serializable(package="ede_keras")
class NormalizedFeatures(keras.layers.Layer):
    """(f − μ) / σ of maps `(n, h, w, channels)`; μ is 0 and σ is 1 until `set`."""

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.channels = channels
        self.mean = self.add_weight((channels,), "zeros", trainable=False, name="mean")
        self.deviation = self.add_weight((channels,), "ones", trainable=False, name="deviation")
        self.is_set = self.add_weight((), "zeros", trainable=False, name="is_set")
        self.built = True

    def set(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        """Sets μ and σ; no σ is 0."""
        least = max(LEAST_SHARE * deviation.mean(), LEAST_DEVIATION)
        self.mean.assign(mean)
        self.deviation.assign(np.maximum(deviation, least))
        self.is_set.assign(1.0)

    def call(self, maps: Any) -> Any:
        """The normalized maps."""
        return (maps - self.mean) / self.deviation

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), "channels": self.channels}
