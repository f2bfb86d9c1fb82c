"""VAE: a variational autoencoder; its score is the negative evidence lower bound."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from ede_keras.layers import networks
from ede_keras.rivals.rival import Rival, Training

# The variance of a pixel's normal distribution, in the units of [-1, 1].
VARIANCE = 0.1


@keras.saving.register_keras_serializable(package="ede_keras")
class VAE(Rival):
    """A variational autoencoder, with E1's convolutions and D1.

    The encoder gives the mean μ and the logarithm of the variance σ² of z; z = μ + σ ε in
    training, and μ in the score. The loss, and the score, is −ELBO = Σ (x − x̂)² / (2 s²) + KL, with
    KL = ½ Σ (μ² + σ² − ln σ² − 1) and s² = `VARIANCE`.

    References: Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014; An and Cho,
    "Variational autoencoder based anomaly detection using reconstruction probability", 2015, whose
    score averages over draws of z.
    """

    training = Training(epochs=20)
    default_latent_dim = 32
    score_weights: ClassVar[Mapping[str, float]] = {"reconstruction": 1.0, "divergence": 1.0}

    def build_networks(self) -> None:
        """The encoder with its two heads, and the decoder."""
        trunk = networks.build_encoder(*self.network_arguments, name="trunk")
        hidden = keras.layers.Flatten()(networks.find_features(trunk))
        heads = [
            keras.layers.Dense(self.latent_dim, name=name)(hidden)
            for name in ("mean", "log_variance")
        ]
        self.encoder = keras.Model(trunk.input, heads, name="encoder")
        self.decoder = networks.build_decoder(*self.network_arguments, name="decoder")
        self.noise = keras.random.SeedGenerator(0)

    @property
    def trained_networks(self) -> list[keras.Layer]:
        """Encoder and decoder."""
        return [self.encoder, self.decoder]

    @staticmethod
    def divergence(mean: Any, log_variance: Any) -> Any:
        """KL of N(μ, σ²) from N(0, 1), `(n,)`."""
        elements = ops.square(mean) + ops.exp(log_variance) - log_variance - 1
        return 0.5 * ops.sum(elements, axis=-1)

    @staticmethod
    def misfit(x: Any, reconstruction: Any) -> Any:
        """Σ (x − x̂)² / (2 s²) over the pixels, `(n,)`."""
        return ops.sum(ops.square(x - reconstruction), axis=(1, 2, 3)) / (2 * VARIANCE)

    def training_loss(self, x: Any) -> Any:
        """−ELBO, averaged over the batch."""
        mean, log_variance = self.encoder(x, training=True)
        noise = keras.random.normal(ops.shape(mean), seed=self.noise)
        z = mean + ops.exp(0.5 * log_variance) * noise
        misfit = self.misfit(x, self.decoder(z, training=True))
        return ops.mean(misfit + self.divergence(mean, log_variance))

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """The two parts of −ELBO at z = μ."""
        mean, log_variance = self.encoder(x, training=False)
        reconstruction = self.decoder(mean, training=False)
        terms = {
            "reconstruction": self.misfit(x, reconstruction),
            "divergence": self.divergence(mean, log_variance),
        }
        return terms, mean, reconstruction
