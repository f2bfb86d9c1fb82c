"""A frozen network that sees an image as maps of what is at each place."""

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from ede_keras.errors import InputError

# Strides of the maps that describe places; the last map has the second one as well.
STRIDES = 16, 32
_PROBE = 256  # any size that every stride divides


@keras.saving.register_keras_serializable(package="ede_keras")
class Backbone(keras.layers.Layer):
    """A frozen network, its scaling of pixels, and what of it is used.

    Args:
        network: A functional `keras.Model` from `(n, height, width, 3)`, any size, to its maps.
            `choose_maps` makes one of a network that classifies images.
        mean: Subtracted from pixels in 0 to 255.
        scale: Divides the result; `(pixels - mean) / scale` is what the network expects.
        source: Where the network comes from, for configs and messages.
        sha256: SHA-256 of the file of its weights, hexadecimal; None if there is no file.

    Call arguments:
        images: `(n, size, size, 3)`, 0 to 255; size is a multiple of 32.

    Returns:
        The network's maps, a list of float32 `(n, size / stride, size / stride, c)`, the finest
        first.
    """

    def __init__(
        self,
        network: keras.Model,
        mean: float = 0.0,
        scale: float = 1.0,
        source: str = "own",
        sha256: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**{"dtype": "float32", "name": "backbone", **kwargs})
        self.network = network
        self.mean, self.scale, self.source, self.sha256 = mean, scale, source, sha256
        self.trainable = False
        self.built = True

    @property
    def identity(self) -> dict[str, str | None]:
        """What tells it from others, as JSON knows it."""
        return {"source": self.source, "sha256": self.sha256}

    def call(self, images: Any) -> list:
        """The maps."""
        scaled = (ops.cast(images, "float32") - self.mean) / self.scale
        return self.network(scaled, training=False)

    def compute_output_shape(self, images_shape: Sequence[int | None]) -> list:
        """The shape of each map."""
        return self.network.compute_output_shape(images_shape)

    def get_config(self) -> dict:
        """The arguments of the constructor; the network as its layers, without weights."""
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "mean": self.mean,
            "scale": self.scale,
            "source": self.source,
            "sha256": self.sha256,
        }

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """The backbone of a config, with new weights."""
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})


def choose_maps(network: keras.Model) -> keras.Model:
    """A network with a map of stride 16, one of stride 32, and its last map as outputs.

    Of a stride the last sum of a residual block is taken, since what follows it may belong to the
    next stride already. A network without such sums gives the last map of each stride, so two maps.

    Args:
        network: A functional `keras.Model` of images `(n, height, width, 3)` of any size.

    Raises:
        InputError: It is not functional, has another input, or lacks a map of such a stride.
    """
    try:
        (images,) = network.inputs
        layers = [layer for layer in network.layers if _is_map(layer.output)]
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            "A backbone must be a functional keras.Model with one input. "
            f"Received: {type(network).__name__} ({error})"
        ) from error
    if tuple(images.shape) != (None, None, None, 3):
        raise InputError(
            "A backbone must take RGB images of any size, (None, None, None, 3): build it with "
            f"input_shape=(None, None, 3). Received: {images.shape}"
        )
    every = keras.Model(images, [layer.output for layer in layers])
    shapes = every.compute_output_shape((1, _PROBE, _PROBE, 3))
    strides = [_PROBE // shape[1] for shape in shapes]
    chosen = []
    for stride in STRIDES:
        maps = [layer for layer, found in zip(layers, strides, strict=True) if found == stride]
        if not maps:
            raise InputError(
                "A backbone must have maps of strides 16 and 32. "
                f"Received: no map of stride {stride} in {network.name}"
            )
        sums = [layer for layer in maps if isinstance(layer, keras.layers.Add)]
        chosen.append((sums or maps)[-1].output)
    if chosen[-1] is not maps[-1].output:
        chosen.append(maps[-1].output)
    return keras.Model(images, chosen, name="backbone_network")


def _is_map(tensor):
    return isinstance(tensor, keras.KerasTensor) and tensor.ndim == 4
