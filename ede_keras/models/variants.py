"""The ablation of Table 5: what is left of EDE when parts of it are taken away."""

import keras
from keras import ops

from ede_keras.models import losses
from ede_keras.models.ede import EDE


@keras.saving.register_keras_serializable(package="ede_keras")
class TwinEDE(EDE):
    """Two EDEs, E1→D1→E2 and E1→D2→E2, without phase 2; scored by Equation (8)."""

    phase_weight = 1.0
    phase2 = None


@keras.saving.register_keras_serializable(package="ede_keras")
class SingleEDE(EDE):
    """One EDE, E1→D1→E2, trained by Equation (1); its score is ‖z − z1‖."""

    network_names = ("encoder1", "encoder2", "decoder1")
    phase_weight = 1.0
    phase2 = None
    equation8_weights = (1.0,)

    def phase1(self, x, training):
        z, pretext_loss = self.observe(x, training)
        x1, z1 = self.regenerate(z, self.decoder1, training)
        rec_1 = self.weigh(losses.reconstruction_loss, x, x1, z, z1) + pretext_loss
        return [rec_1], []

    def score_terms(self, x, z, training=False):
        x1, z1 = self.regenerate(z, self.decoder1, training)
        return {"z_z1": losses.distance(z, z1, self.norm)}, x1


@keras.saving.register_keras_serializable(package="ede_keras")
class AutoEncoder(EDE):
    """A plain autoencoder, E1→D1, trained on α d(x, x1); its score is ‖x − x1‖."""

    network_names = ("encoder1", "decoder1")
    phase_weight = 1.0
    phase2 = None
    equation8_weights = (1.0,)

    def phase1(self, x, training):
        z, pretext_loss = self.observe(x, training)
        x1 = self.decoder1(z, training=training)
        loss = self.image_weight * ops.mean(losses.distance(x, x1, self.norm)) + pretext_loss
        return [loss], []

    def score_terms(self, x, z, training=False):
        x1 = self.decoder1(z, training=training)
        return {"x_x1": losses.distance(x, x1, self.norm)}, x1


VARIANTS = {
    "full": EDE,
    "twin_ede": TwinEDE,
    "single_ede": SingleEDE,
    "autoencoder": AutoEncoder,
}
