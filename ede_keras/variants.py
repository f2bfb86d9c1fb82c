"""The ablation of Table 5: what is left of EDE when parts of it are taken away."""

import keras
from keras import ops

from ede_keras import losses
from ede_keras.model import EDE
from ede_keras.trainer import Objective


@keras.saving.register_keras_serializable(package="ede_keras")
class TwinEDE(EDE):
    """Two EDEs, E1→D1→E2 and E1→D2→E2, without phase 2; scored by Equation (8)."""

    def objectives(self, x, training):
        z = self.encoder1(x, training=training)
        x1, z1 = self.regenerate(z, self.decoder1, training)
        x2, z2 = self.regenerate(z, self.decoder2, training)
        rec_1 = self.weigh(losses.reconstruction_loss, x, x1, z, z1)
        rec_2 = self.weigh(losses.reconstruction_loss, x, x2, z, z2)
        return [Objective(rec_1, rec_1, rec_1), Objective(rec_2, rec_2, rec_2)]


@keras.saving.register_keras_serializable(package="ede_keras")
class SingleEDE(EDE):
    """One EDE, E1→D1→E2, trained by Equation (1); its score is ‖z − z1‖."""

    network_names = ("encoder1", "encoder2", "decoder1")
    score_weights = (1.0,)

    def objectives(self, x, training):
        z = self.encoder1(x, training=training)
        x1, z1 = self.regenerate(z, self.decoder1, training)
        rec_1 = self.weigh(losses.reconstruction_loss, x, x1, z, z1)
        return [Objective(rec_1, rec_1, rec_1)]

    def score_terms(self, x):
        z = self.encoder1(x, training=False)
        x1, z1 = self.regenerate(z, self.decoder1, training=False)
        return {"z_z1": losses.distance(z, z1, self.norm)}, x1


@keras.saving.register_keras_serializable(package="ede_keras")
class AutoEncoder(EDE):
    """A plain autoencoder, E1→D1, trained on α d(x, x1); its score is ‖x − x1‖."""

    network_names = ("encoder1", "decoder1")
    score_weights = (1.0,)

    def objectives(self, x, training):
        x1 = self.decoder1(self.encoder1(x, training=training), training=training)
        loss = self.image_weight * ops.mean(losses.distance(x, x1, self.norm))
        return [Objective(loss, loss, loss)]

    def score_terms(self, x):
        x1 = self.decoder1(self.encoder1(x, training=False), training=False)
        return {"x_x1": losses.distance(x, x1, self.norm)}, x1


VARIANTS = {
    "full": EDE,
    "twin_ede": TwinEDE,
    "single_ede": SingleEDE,
    "autoencoder": AutoEncoder,
}
