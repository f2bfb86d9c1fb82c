"""GPND: the probability of an image, from its place on a learned manifold and its distance."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from ede_keras.layers import networks
from ede_keras.rivals import heads
from ede_keras.rivals.adversarial import Adversarial, Turn
from ede_keras.rivals.manifold import Densities, LogVolume
from ede_keras.rivals.rival import Training
from ede_keras.utils import pipeline

# The weight of the reconstruction's cross entropy, a mean over pixels, and of D_z's decision.
WEIGHTS = (20.0, 2.0)
# The densities are those of at most so many images.
IMAGES_FOR_DENSITIES = 4096


@keras.saving.register_keras_serializable(package="ede_keras")
class GPND(Adversarial):
    """Generative probabilistic novelty detection: −log p(x), with g an encoder and f a decoder.

    Near the manifold of f, x = f(z) + a residual across it, z = g(x). With n latent entries, m
    pixels and r = ‖x − f(z)‖ the score is, but for a constant,
    −log p(z) + Σ log s + (m − n − 1) log r − log p(r), where s are the singular values of f's
    Jacobian at z. p(z) is the product of generalized normal densities, p(r) a histogram, both of
    training images.

    f and g are an adversarial autoencoder: D_z tells z from N(0, 1), D_x tells x from f of N(0, 1).
    f and g minimize 20 H(x, x̂) − 2 ln D_z(g(x)) − ln D_x(f(n)), n ~ N(0, 1), with the pixels'
    cross entropy H; D_x and D_z minimize the cross entropy of their decisions.

    Differences from the paper: EDE's convolutions; one Adam for f and g; another weight of the
    reconstruction; no steps of the learning rate; the Jacobian is made of differences; the
    distributions of z are fitted by moments; an empty bin, and all outside of the histogram, count
    as one image; the threshold is one of normal images, the paper's needs anomalies. The authors'
    code leaves the Jacobian out by default; here it is in. The paper trains 80 epochs.

    Reference: Pidhorskyi et al., "Generative probabilistic novelty detection with adversarial
    autoencoders", NeurIPS 2018, Sections 3 and 4.
    """

    training = Training(epochs=20, learning_rate=1e-3, beta_1=0.5)
    default_latent_dim = 16
    has_edge_formats = False  # they lack the Jacobian's determinant
    score_weights: ClassVar[Mapping[str, float]] = {"latent": 1.0, "volume": 1.0, "residual": 1.0}

    def build_networks(self) -> None:
        """The encoder g, the decoder f, the discriminators, and the layers of the score."""
        size, channels, latent_dim, width = self.network_arguments
        self.encoder = heads.build_with_head(size, channels, latent_dim, width, "encoder")
        self.decoder = networks.build_decoder(*self.network_arguments, name="decoder")
        self.image_discriminator = heads.build_with_head(size, channels, 1, width, "of_images")
        self.latent_discriminator = heads.build_latent_discriminator(latent_dim, "of_latents")
        self.log_volume = LogVolume(self.decoder, name="log_volume")
        across = size * size * channels - latent_dim
        self.densities = Densities(latent_dim, max(across, 1), name="densities")
        self.noise = keras.random.SeedGenerator(0)

    @property
    def turns(self) -> list[Turn]:
        """Encoder and decoder; then both discriminators."""
        return [
            Turn([self.encoder, self.decoder], self.autoencoder_loss),
            Turn([self.image_discriminator, self.latent_discriminator], self.discriminator_loss),
        ]

    def draw(self, x: Any) -> Any:
        """As many latent vectors of N(0, 1) as x has images."""
        return keras.random.normal((ops.shape(x)[0], self.latent_dim), seed=self.noise)

    def autoencoder_loss(self, x: Any) -> Any:
        """The loss of f and g on a batch."""
        _, z = self.encoder(x, training=True)
        again = self.decoder(z, training=True)
        _, of_drawn = self.image_discriminator(
            self.decoder(self.draw(x), training=True), training=True
        )
        targets, found = ((a + 1) / 2 for a in (x, again))
        reconstruction = ops.mean(ops.binary_crossentropy(targets, found))
        misled = heads.real_loss(self.latent_discriminator(z, training=True))
        return WEIGHTS[0] * reconstruction + WEIGHTS[1] * misled + heads.real_loss(of_drawn)

    def discriminator_loss(self, x: Any) -> Any:
        """The cross entropy of both discriminators; nothing else is trained by it."""
        drawn = self.draw(x)
        fake = ops.stop_gradient(self.decoder(drawn, training=True))
        _, of_real = self.image_discriminator(x, training=True)
        _, of_fake = self.image_discriminator(fake, training=True)
        _, z = self.encoder(x, training=True)
        of_z = self.latent_discriminator(ops.stop_gradient(z), training=True)
        of_drawn = self.latent_discriminator(drawn, training=True)
        decisions = heads.real_loss(of_real) + heads.fake_loss(of_fake)
        return decisions + heads.real_loss(of_drawn) + heads.fake_loss(of_z)

    def make_callback(self, images: Any, epochs: int) -> keras.callbacks.Callback:
        """Sets the densities after each epoch, from the images of `fit`."""
        del epochs
        return keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self.set_densities(images)
        )

    def set_densities(self, images: Any) -> None:
        """Fits p(z) and p(r) to images, as `fit` takes them."""
        size = self.scale_batch_size(256)
        latents, norms = [], []
        for batch in pipeline.take_batches(pipeline.stream(images, size), IMAGES_FOR_DENSITIES):
            z, _, norm = self.project(self.preprocessor(batch))
            latents.append(z)
            norms.append(norm)
        self.densities.set(np.concatenate(latents), np.concatenate(norms))

    def project(self, x: Any) -> tuple[Any, Any, Any]:
        """`(z, f(z), r)` of images, in inference mode."""
        _, z = self.encoder(x, training=False)
        again = self.decoder(z, training=False)
        return z, again, ops.sqrt(ops.sum(ops.square(x - again), axis=(1, 2, 3)))

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """−log p(z), Σ log s and −log p of the residual; z and f(z)."""
        z, again, norm = self.project(x)
        latent, residual = self.densities([z, norm])
        return {"latent": latent, "volume": self.log_volume(z), "residual": residual}, z, again
