"""AnoNAGN: a generator of normal images and its inverse, trained without a discriminator."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

from ede_keras.layers import networks
from ede_keras.rivals.rival import Rival, Training

# The search for an image's code: gradient steps, and how far the first one moves it, as a root
# mean square over its entries; step k moves it by a k-th of that.
STEPS, STEP_SIZE = 5, 0.1
# The weight of the latent loss; the loss of the images has weight 1.
LATENT_WEIGHT = 1.0


@keras.saving.register_keras_serializable(package="ede_keras")
class AnoNAGN(Rival):
    """A decoder-encoder: a generator G of a code z for each image, and an encoder E after it.

    Training goes from codes to images to codes: the loss is ‖x − G(z)‖² + ‖z − E(G(z))‖², each a
    mean over elements, and z is the code for which G comes near to x. There is no discriminator.
    The score goes the other way, ‖x − G(E(x))‖², the mean over pixels. E is never trained on real
    images, only on G's.

    Differences from the paper: the paper is known here by its abstract alone, so the losses and
    their weights are those of its idea, not of its equations. As in GLO, each training image would
    have a code of its own, which is kept and learned through all epochs. Here no code is kept,
    because batches come without the positions of their images: a code is found anew in each step.
    It starts at E(x), follows `STEPS` gradient steps on ‖x − G(z)‖² within [-1, 1], and is then
    constant for the loss. The networks are EDE's.

    References: Chen et al., "Novelty detection via non-adversarial generative network",
    arXiv:2002.00522, 2020; Bojanowski et al., "Optimizing the latent space of generative networks",
    ICML 2018, Equation (1).
    """

    training = Training(epochs=20)
    default_latent_dim = 32
    score_weights: ClassVar[Mapping[str, float]] = {"reconstruction": 1.0}

    def build_networks(self) -> None:
        """G and E."""
        self.generator = networks.build_decoder(*self.network_arguments, name="generator")
        self.encoder = networks.build_encoder(*self.network_arguments, name="encoder")

    @property
    def trained_networks(self) -> list[keras.Layer]:
        """G and E."""
        return [self.generator, self.encoder]

    def find_codes(self, x: Any) -> Any:
        """The codes of a training batch, `(n, latent_dim)`; no gradient passes through them."""
        z = tf.stop_gradient(self.encoder(x, training=False))
        for k in range(1, STEPS + 1):
            with tf.GradientTape() as tape:
                tape.watch(z)
                loss = tf.reduce_sum(tf.square(x - self.generator(z, training=False)))
            slope = tape.gradient(loss, z)
            length = tf.sqrt(tf.reduce_mean(tf.square(slope), axis=1, keepdims=True))
            z = tf.clip_by_value(z - STEP_SIZE / k * slope / (length + 1e-8), -1.0, 1.0)
        return tf.stop_gradient(z)

    def losses_of(self, x: Any, z: Any) -> tuple[Any, Any]:
        """‖x − G(z)‖² and ‖z − E(G(z))‖², means over all elements."""
        fake = self.generator(z, training=True)
        z_hat = self.encoder(fake, training=True)
        return ops.mean(ops.square(x - fake)), ops.mean(ops.square(z - z_hat))

    def training_loss(self, x: Any) -> Any:
        """The loss at the codes of the batch."""
        images, latents = self.losses_of(x, self.find_codes(x))
        return images + LATENT_WEIGHT * latents

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """‖x − G(E(x))‖², the mean over the pixels; E(x); and G(E(x))."""
        z = self.encoder(x, training=False)
        fake = self.generator(z, training=False)
        return {"reconstruction": ops.mean(ops.square(x - fake), axis=(1, 2, 3))}, z, fake
