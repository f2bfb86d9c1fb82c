"""PixelCNN: a density of images, pixel by pixel; the score is the negative log-likelihood."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from ede_keras.rivals.rival import Rival, Training

# Pixels are rounded to so many levels, and the network predicts the level.
LEVELS = 16
# Residual blocks after the first convolution; each sees one more pixel in each direction.
BLOCKS = 4


@keras.saving.register_keras_serializable(package="ede_keras")
class MaskedConv2D(keras.layers.Conv2D):
    """A convolution that reads only pixels before its own, in rows from the top left.

    The maps belong to the colours in turn: map i to colour i mod `colours`. At the pixel itself, a
    map reads those of earlier colours and, unless `strict`, of its own colour: masks A and B.
    """

    def __init__(
        self, filters: int, kernel_size: Any, colours: int, strict: bool = False, **kwargs: Any
    ):
        super().__init__(filters, kernel_size, **{"padding": "same", **kwargs})
        self.colours, self.strict = colours, strict

    def build(self, input_shape):
        super().build(input_shape)
        height, width, inputs, outputs = self.kernel.shape
        source = np.arange(inputs)[:, None] % self.colours
        target = np.arange(outputs)[None] % self.colours
        mask = np.zeros(self.kernel.shape, "float32")
        mask[: height // 2] = 1
        mask[height // 2, : width // 2] = 1
        mask[height // 2, width // 2] = source < target if self.strict else source <= target
        self.mask = mask

    def convolution_op(self, inputs, kernel):
        """The convolution with the mask on the kernel."""
        return super().convolution_op(inputs, kernel * self.mask)

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), "colours": self.colours, "strict": self.strict}


@keras.saving.register_keras_serializable(package="ede_keras")
class PixelCNN(Rival):
    """A PixelCNN: p(x) = Π p(x_i | x_1, …, x_(i−1)) over pixels and colours, each one of 16 levels.

    A 7 x 7 convolution with mask A is followed by gated residual blocks with mask B,
    h + W (tanh(U h) σ(V h)), and by a layer of `latent_dim` maps. The loss, and the score, is
    −log₂ p(x) for each pixel and colour: bits per dimension. z is the mean of the last hidden maps.
    The anomaly map shows the difference from each pixel's expected value given those before it.

    An image is likely if its pixels are easy to predict, whatever it shows. So a smooth image of
    another class often scores lower than a normal one; low AUROC on natural images is what is
    known of the method (Nalisnick et al., "Do deep generative models know what they don't know?",
    ICLR 2019).

    Differences from the paper: 16 levels, not 256; four blocks of `base_width` maps, and ten
    epochs of Adam, where the paper has up to 15 blocks of 128 maps and trains for days on many
    processors; gates as in the second paper, but one stack of convolutions as in the first, so some
    pixels to the upper right are not seen.

    References: van den Oord et al., "Pixel recurrent neural networks", ICML 2016, Equation (1) and
    Section 3.4; "Conditional image generation with PixelCNN decoders", NIPS 2016, Equation (2).
    """

    training = Training(epochs=10, learning_rate=3e-3)
    default_latent_dim = 32
    score_weights: ClassVar[Mapping[str, float]] = {"bits": 1.0}

    def build_networks(self) -> None:
        """The network, from levels in [-1, 1] to `[hidden maps, logits]`."""
        size, colours, latent_dim, width = self.network_arguments

        def convolve(filters, kernel_size, **kwargs):
            return MaskedConv2D(filters, kernel_size, colours, **kwargs)

        pixels = keras.Input((size, size, colours), name="pixels")
        h = convolve(width, 7, strict=True)(pixels)
        for _ in range(BLOCKS):
            gates = [convolve(width, 3, activation=name)(h) for name in ("tanh", "sigmoid")]
            h = keras.layers.Add()([h, convolve(width, 1)(keras.layers.Multiply()(gates))])
        hidden = convolve(latent_dim, 1, activation="relu")(keras.layers.ReLU()(h))
        logits = convolve(LEVELS * colours, 1)(hidden)
        logits = keras.layers.Reshape((size, size, LEVELS, colours))(logits)
        logits = keras.layers.Permute((1, 2, 4, 3))(logits)
        self.network = keras.Model(pixels, [hidden, logits], name="network")

    @property
    def trained_networks(self) -> list[keras.Layer]:
        """The network."""
        return [self.network]

    @staticmethod
    def to_levels(x: Any) -> Any:
        """The level of each pixel of images in [-1, 1], 0 to `LEVELS` − 1, float32."""
        return ops.clip(ops.floor((x + 1) * (LEVELS / 2)), 0, LEVELS - 1)

    @staticmethod
    def to_pixels(level: Any) -> Any:
        """The value in [-1, 1] in the middle of a level."""
        return (level + 0.5) * (2 / LEVELS) - 1

    def bits_and_outputs(self, x: Any) -> tuple[Any, Any, Any]:
        """Bits per dimension `(n,)`, the hidden maps, and the logits."""
        levels = self.to_levels(x)
        hidden, logits = self.network(self.to_pixels(levels))
        nats = keras.losses.sparse_categorical_crossentropy(levels, logits, from_logits=True)
        return ops.mean(nats, axis=(1, 2, 3)) / np.log(2).astype("float32"), hidden, logits

    def training_loss(self, x: Any) -> Any:
        """Bits per dimension, averaged over the batch."""
        return ops.mean(self.bits_and_outputs(x)[0])

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """Bits per dimension; the mean of the hidden maps; and the expected pixels."""
        bits, hidden, logits = self.bits_and_outputs(x)
        values = self.to_pixels(np.arange(LEVELS, dtype="float32"))
        expected = ops.sum(ops.softmax(logits) * values, axis=-1)
        return {"bits": bits}, ops.mean(hidden, axis=(1, 2)), expected
