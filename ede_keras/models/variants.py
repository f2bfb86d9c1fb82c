"""The ablation of Table 5: EDE with parts of it removed."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from ede_keras.models import losses
from ede_keras.models.ede import EDE

_OF_PHASE2 = ("schedule", "phase_floor", "phase2_form", "phase2_margin", "phase2_updates")


@keras.saving.register_keras_serializable(package="ede_keras")
class TwinEDE(EDE):
    """Two EDEs, E1→D1→E2 and E1→D2→E2, without phase 2; scored by Equation (8)."""

    has_phase2 = False
    unused_arguments = _OF_PHASE2


@keras.saving.register_keras_serializable(package="ede_keras")
class SingleEDE(EDE):
    """One EDE, E1→D1→E2, trained by Equation (1); its score is ‖z − z1‖."""

    network_names = ("encoder1", "encoder2", "decoder1")
    has_phase2 = False
    unused_arguments = (*_OF_PHASE2, "update", "score", "omega1", "scale_terms")
    equation8_weights: Mapping[str, float] = {"z_z1": 1.0}

    def score_terms(self, x: Any, z: Any, training: bool = False) -> tuple[dict, Any]:
        """‖z − z1‖, and x1."""
        x1, z1 = self.regenerate(z, self.decoder1, training)
        return {"z_z1": losses.distance(z, z1, self.norm)}, x1


@keras.saving.register_keras_serializable(package="ede_keras")
class AutoEncoder(EDE):
    """A plain autoencoder, E1→D1, trained on α d(x, x1); its score is ‖x − x1‖."""

    network_names = ("encoder1", "decoder1")
    has_phase2 = False
    unused_arguments = (
        *SingleEDE.unused_arguments,
        "latent_weight",
        "fixed_latent_target",
    )
    equation8_weights: Mapping[str, float] = {"x_x1": 1.0}

    def regenerate(self, z: Any, decoder: keras.Layer, training: bool) -> tuple[Any, None]:
        """`(x1, None)`: there is no E2."""
        return self.decode(z, decoder, training), None

    def reconstruction_loss(self, x: Any, x_i: Any, z: Any, z_i: Any) -> Any:
        """α d(x, x1), averaged over the batch."""
        return self.image_weight * ops.mean(losses.distance(x, x_i, self.norm))

    def score_terms(self, x: Any, z: Any, training: bool = False) -> tuple[dict, Any]:
        """‖x − x1‖, and x1."""
        x1, _ = self.regenerate(z, self.decoder1, training)
        return self.space.compare("x_x1", x, x1, self.norm), x1


VARIANTS = {
    "full": EDE,
    "twin_ede": TwinEDE,
    "single_ede": SingleEDE,
    "autoencoder": AutoEncoder,
}
