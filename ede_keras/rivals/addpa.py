"""ADDPA: an autoencoder that is trained and scored by the features of a frozen network."""

from typing import Any

import keras
from keras import ops

from ede_keras.layers import networks
from ede_keras.rivals.perceptual import Perceptual
from ede_keras.rivals.rival import Rival, Training


@keras.saving.register_keras_serializable(package="ede_keras")
class ADDPA(Perceptual, Rival):
    """A deep perceptual autoencoder: E1 and D1 with the relative perceptual L1 loss.

    The loss, averaged over a batch, and the score are ‖f(x) − f(x̂)‖₁ / ‖f(x)‖₁ with
    x̂ = D1(E1(x)); f are normalized features of a frozen network, see `Perceptual`. The anomaly map
    shows how pixels differ; these have no loss of their own.

    Differences from the paper: the features are a map of stride 16 of EfficientNet-Lite0, which
    sees images enlarged to 64 pixels, not a map of VGG-19; their mean and deviation are those of
    training images, not of ImageNet. The networks are EDE's and do not grow while they are trained.
    The width of the latent vector and the number of steps are fixed, where the paper chooses them
    by a few anomalies. The paper trains for up to 100,000 steps.

    Reference: Shvetsova et al., "Anomaly detection in medical imaging with deep perceptual
    autoencoders", IEEE Access, 2021.
    """

    training = Training(epochs=15)

    def build_networks(self) -> None:
        """E1 and D1."""
        self.encoder = networks.build_encoder(*self.network_arguments, name="encoder")
        self.decoder = networks.build_decoder(*self.network_arguments, name="decoder")

    def training_loss(self, x: Any) -> Any:
        """The relative perceptual L1 loss, averaged over the batch."""
        reconstruction = self.decoder(self.encoder(x, training=True), training=True)
        return ops.mean(self.perceptual_loss(x, reconstruction))
