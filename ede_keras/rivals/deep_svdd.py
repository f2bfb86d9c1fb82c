"""Deep-SVDD: normal images are mapped near one point; the score is the distance from it."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ede_keras.layers import networks
from ede_keras.rivals.rival import Rival, Training
from ede_keras.utils import pipeline

# The share of the epochs in which the encoder is first trained as an autoencoder's.
PRETRAINING = 0.5
# No entry of the center is nearer to 0: a network could reach that by weights of 0.
LEAST_CENTER = 0.1
# The center is the mean over at most so many images.
IMAGES_FOR_CENTER = 10_000


@keras.saving.register_keras_serializable(package="ede_keras")
class DeepSVDD(Rival):
    """One-class Deep-SVDD: min mean ‖φ(x) − c‖² over the weights of φ; the score is ‖φ(x) − c‖².

    φ has no biases, a linear output, and batch normalization without an offset, or it could map
    all images to c. In the first half of the epochs φ is the encoder of an autoencoder; then c is
    the mean of φ over the training images. The anomaly map shows what the autoencoder's decoder,
    which has no loss from then on, makes of φ(x); it is no part of the score.

    Differences from the paper: convolutions as in E1, not LeNet's; Adam without weight decay.

    Reference: Ruff et al., "Deep one-class classification", ICML 2018, Equation (4).
    """

    training = Training(epochs=20, learning_rate=5e-4)
    default_latent_dim = 32
    score_weights: ClassVar[Mapping[str, float]] = {"distance": 1.0}

    def build_networks(self) -> None:
        """φ, the decoder of the autoencoder, and the center."""
        size, channels, latent_dim, width = self.network_arguments
        images = keras.Input((size, size, channels), name="images")
        x = images
        for factor in (1, 2, 4):
            x = keras.layers.Conv2D(factor * width, use_bias=False, **networks.HALVING)(x)
            norm = keras.layers.BatchNormalization(
                momentum=networks.BATCH_NORM_MOMENTUM, center=False, scale=False
            )
            x = keras.layers.LeakyReLU(negative_slope=networks.LEAKY_SLOPE)(norm(x))
        z = keras.layers.Dense(latent_dim, use_bias=False)(keras.layers.Flatten()(x))
        self.encoder = keras.Model(images, z, name="encoder")
        self.decoder = networks.build_decoder(*self.network_arguments, name="decoder")
        self.to_center = DistanceToCenter(latent_dim, name="to_center")

    @property
    def trained_networks(self) -> list[keras.Layer]:
        """φ and, for the first epochs, the decoder."""
        return [self.encoder, self.decoder]

    def training_loss(self, x: Any) -> Any:
        """‖φ(x) − c‖², averaged over the batch; before there is a center, the squared residual."""
        z = self.encoder(x, training=True)
        return tf.cond(
            self.to_center.is_set > 0,
            lambda: ops.mean(self.to_center(z)),
            lambda: ops.mean(ops.square(x - self.decoder(z, training=True))),
        )

    def make_callback(self, images: Any, epochs: int) -> keras.callbacks.Callback:
        """Sets the center after the epochs of the autoencoder, from the images of `fit`."""
        before = int(PRETRAINING * epochs)

        def set_center(epoch: int, logs: Any) -> None:
            del logs
            if epoch >= before and not float(self.to_center.is_set.numpy()):
                self.set_center(images)

        return keras.callbacks.LambdaCallback(on_epoch_begin=set_center)

    def set_center(self, images: Any) -> None:
        """Sets c to the mean of φ over images, as `fit` takes them."""
        size = self.scale_batch_size(256)
        batches = pipeline.take_batches(pipeline.stream(images, size), IMAGES_FOR_CENTER)
        z = np.concatenate([self.encoder(self.preprocessor(batch)) for batch in batches])
        self.to_center.set(z.mean(axis=0))

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """‖φ(x) − c‖², and the decoder's image."""
        z = self.encoder(x, training=False)
        return {"distance": self.to_center(z)}, z, self.decoder(z, training=False)


@keras.saving.register_keras_serializable(package="ede_keras")
class DistanceToCenter(keras.layers.Layer):
    """‖z − c‖² of latent vectors `(n, latent_dim)`, `(n,)`; c is 0 until `set`."""

    def __init__(self, latent_dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.latent_dim = latent_dim
        self.center = self.add_weight((latent_dim,), "zeros", trainable=False, name="center")
        self.is_set = self.add_weight((), "zeros", trainable=False, name="is_set")
        self.built = True

    def set(self, center: np.ndarray) -> None:
        """Sets c, no entry of it within `LEAST_CENTER` of 0."""
        sign = np.where(center < 0, -1.0, 1.0)
        self.center.assign(sign * np.maximum(np.abs(center), LEAST_CENTER))
        self.is_set.assign(1.0)

    def call(self, z: Any) -> Any:
        """The squared distance."""
        return ops.sum(ops.square(z - self.center), axis=-1)

    def compute_output_shape(self, z_shape):
        """`(n,)`."""
        return z_shape[:1]

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), "latent_dim": self.latent_dim}
