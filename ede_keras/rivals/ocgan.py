"""OCGAN: an autoencoder whose whole latent space is made to decode to normal images."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

from ede_keras.layers import networks
from ede_keras.rivals import heads
from ede_keras.rivals.adversarial import Adversarial, Turn
from ede_keras.rivals.rival import Training

# The weights of the squared residual, a mean over pixels, and of the latent and the visual
# discriminator's decision.
WEIGHTS = (250.0, 10.0, 1.0)
# The standard deviation of the noise that the autoencoder removes, in the units of [-1, 1].
NOISE = 0.2
# How informative negatives are mined: gradient steps in latent space, and their length.
MINING_STEPS, MINING_RATE = 2, 2.0


@keras.saving.register_keras_serializable(package="ede_keras")
class OCGAN(Adversarial):
    """A denoising autoencoder, z in (-1, 1), against two discriminators; the score is ‖x − x̂‖².

    The latent discriminator D_l tells uniform latent vectors u from z = En(x + noise), the visual
    one D_v tells x from De(u). A classifier tells De(z) from De(u); gradient steps move u to where
    it is surest that De(u) is no normal image: the informative negatives v. En and De minimize
    250 ‖x − De(z)‖² − 10 ln D_l(z) − ln D_v(De(v)); discriminators and classifier minimize the
    cross entropy of their decisions. The norms are means over pixels.

    Differences from the paper: EDE's convolutions; the weights are those of the authors' code, the
    paper has 10, 1 and 1; negatives are mined from the first epoch, when the classifier knows
    little; the mining moves the argument of a tanh, as in that code; no model is picked by a
    validation set. The authors' code trains 200 epochs.

    Reference: Perera et al., "OCGAN: one-class novelty detection using GANs with constrained latent
    representations", CVPR 2019, Section 3.
    """

    training = Training(epochs=25, learning_rate=2e-4, beta_1=0.5)
    default_latent_dim = 16
    score_weights: ClassVar[Mapping[str, float]] = {"residual": 1.0}

    def build_networks(self) -> None:
        """En, De, D_l, D_v and the classifier."""
        size, channels, latent_dim, width = self.network_arguments
        self.encoder = networks.build_encoder(*self.network_arguments, name="encoder")
        self.decoder = networks.build_decoder(*self.network_arguments, name="decoder")
        self.latent_discriminator = heads.build_latent_discriminator(latent_dim, "of_latents")
        self.image_discriminator = heads.build_with_head(size, channels, 1, width, "of_images")
        self.classifier = heads.build_with_head(size, channels, 1, width, "classifier")
        self.noise = keras.random.SeedGenerator(0)

    @property
    def turns(self) -> list[Turn]:
        """Encoder and decoder; then all that they are trained against."""
        against = [self.latent_discriminator, self.image_discriminator, self.classifier]
        return [
            Turn([self.encoder, self.decoder], self.autoencoder_loss),
            Turn(against, self.discriminator_loss),
        ]

    def draw(self, x: Any) -> Any:
        """As many uniform latent vectors as x has images."""
        shape = (ops.shape(x)[0], self.latent_dim)
        return keras.random.uniform(shape, -1.0, 1.0, seed=self.noise)

    def encode_noisy(self, x: Any) -> Any:
        """En(x + noise), in training mode."""
        noise = keras.random.normal(ops.shape(x), stddev=NOISE, seed=self.noise)
        return self.encoder(x + noise, training=True)

    def mine(self, start: Any) -> Any:
        """Informative negatives: latent vectors moved to where the classifier sees no normal image.

        The classifier's own loss of De(v) as a negative, summed over the images, falls.
        """
        place = start
        for _ in range(MINING_STEPS):
            with tf.GradientTape() as tape:
                tape.watch(place)
                # In inference mode: the images of a batch do not move each other's vectors.
                image = self.decoder(ops.tanh(place), training=False)
                _, logits = self.classifier(image, training=False)
                loss = ops.sum(ops.softplus(logits))
            place = place - MINING_RATE * tape.gradient(loss, place)
        return ops.stop_gradient(ops.tanh(place))

    def autoencoder_loss(self, x: Any) -> Any:
        """The loss of En and De on a batch."""
        z = self.encode_noisy(x)
        residual = ops.mean(ops.square(x - self.decoder(z, training=True)))
        of_z = self.latent_discriminator(z)
        negatives = self.decoder(self.mine(self.draw(x)), training=True)
        _, of_negatives = self.image_discriminator(negatives, training=True)
        parts = (residual, heads.real_loss(of_z), heads.real_loss(of_negatives))
        return sum(weight * part for weight, part in zip(WEIGHTS, parts, strict=True))

    def discriminator_loss(self, x: Any) -> Any:
        """The cross entropy of D_l, D_v and the classifier; En and De are not trained by it."""
        z, drawn = ops.stop_gradient(self.encode_noisy(x)), self.draw(x)
        again, fake = (ops.stop_gradient(self.decoder(a, training=True)) for a in (z, drawn))
        latent = self.latent_discriminator
        decisions = heads.real_loss(latent(drawn)) + heads.fake_loss(latent(z))
        for network, real in ((self.image_discriminator, x), (self.classifier, again)):
            (_, of_real), (_, of_fake) = (network(a, training=True) for a in (real, fake))
            decisions += heads.real_loss(of_real) + heads.fake_loss(of_fake)
        return 0.5 * decisions

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """‖x − x̂‖², the mean over pixels, without noise; z and x̂."""
        z = self.encoder(x, training=False)
        again = self.decoder(z, training=False)
        return {"residual": ops.mean(ops.square(x - again), axis=(1, 2, 3))}, z, again
