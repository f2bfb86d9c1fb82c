"""GANomaly: an encoder-decoder-encoder against a discriminator, the parent of an EDE."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from ede_keras.layers import networks
from ede_keras.rivals import heads
from ede_keras.rivals.adversarial import Adversarial, Turn
from ede_keras.rivals.rival import Training

# The weights of the adversarial, the contextual and the encoder loss.
WEIGHTS = (1.0, 50.0, 1.0)


@keras.saving.register_keras_serializable(package="ede_keras")
class GANomaly(Adversarial):
    """G = E1, D, E2 and a discriminator f; the score is ‖E1(x) − E2(x̂)‖² with x̂ = D(E1(x)).

    G minimizes ‖f(x) − f(x̂)‖² + 50 ‖x − x̂‖₁ + ‖z − ẑ‖², each a mean over elements, where f is the
    discriminator's last hidden map. The discriminator minimizes the cross entropy of its decision.

    Differences from the paper: the networks are EDE's; the score is the squared norm, as in the
    authors' code, and is not scaled by the test set; batch normalization uses the statistics of
    training.

    Reference: Akcay et al., "GANomaly", ACCV 2018, Equations (1) to (5).
    """

    training = Training(epochs=15, learning_rate=2e-4, beta_1=0.5)
    default_latent_dim = 100
    score_weights: ClassVar[Mapping[str, float]] = {"z_z1": 1.0}

    def build_networks(self) -> None:
        """E1, D, E2 and the discriminator, whose output is a logit."""
        build = networks.build_encoder
        self.encoder1 = build(*self.network_arguments, name="encoder1")
        self.decoder = networks.build_decoder(*self.network_arguments, name="decoder")
        self.encoder2 = build(*self.network_arguments, name="encoder2")
        size, channels, _, width = self.network_arguments
        self.discriminator = heads.build_with_head(size, channels, 1, width, "discriminator")

    @property
    def turns(self) -> list[Turn]:
        """The generator E1, D and E2; then the discriminator."""
        return [
            Turn([self.encoder1, self.decoder, self.encoder2], self.generator_loss),
            Turn([self.discriminator], self.discriminator_loss),
        ]

    def generator_loss(self, x: Any) -> Any:
        """The loss of G on a batch."""
        z = self.encoder1(x, training=True)
        fake = self.decoder(z, training=True)
        z_hat = self.encoder2(fake, training=True)
        real_features, _ = self.discriminator(x, training=True)
        features, _ = self.discriminator(fake, training=True)
        parts = (
            ops.mean(ops.square(ops.stop_gradient(real_features) - features)),
            ops.mean(ops.abs(x - fake)),
            ops.mean(ops.square(z - z_hat)),
        )
        return sum(w * part for w, part in zip(WEIGHTS, parts, strict=True))

    def discriminator_loss(self, x: Any) -> Any:
        """The cross entropy of real and regenerated images, which are not trained by it."""
        fake = ops.stop_gradient(self.decoder(self.encoder1(x, training=True), training=True))
        _, real = self.discriminator(x, training=True)
        _, other = self.discriminator(fake, training=True)
        return 0.5 * (heads.real_loss(real) + heads.fake_loss(other))

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """‖z − ẑ‖², the mean over the entries; and x̂."""
        z = self.encoder1(x, training=False)
        fake = self.decoder(z, training=False)
        z_hat = self.encoder2(fake, training=False)
        return {"z_z1": ops.mean(ops.square(z - z_hat), axis=-1)}, z, fake
