"""The callback that `fit` adds: it sets the model's epoch and warns about divergence."""

import warnings
from typing import Any

import keras
import numpy as np

from ede_keras.models.diagnosis import find_remedies, warn_if_running_away


def with_epoch_follower(callbacks: Any, model: keras.Model) -> Any:
    """The callbacks with `_EpochFollower` first, so that the others see the new epoch's state."""
    known = callbacks.callbacks if isinstance(callbacks, keras.callbacks.CallbackList) else ()
    if any(isinstance(callback, _EpochFollower) for callback in known):
        return callbacks
    return put_first(_EpochFollower(), callbacks, model)


def put_first(own: keras.callbacks.Callback, callbacks: Any, model: keras.Model) -> Any:
    """The callbacks that `fit` is given, in any of its forms, after one of the model's own."""
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
        return [own, *filter(None, callbacks)]
    own.set_model(model)
    callbacks.callbacks.insert(0, own)
    return callbacks


class _EpochFollower(keras.callbacks.Callback):
    """Sets n = Keras' epoch + 1; warns if a loss is not finite, and if EDE1 runs away."""

    _ran_away = False

    def on_epoch_begin(self, epoch, logs=None):
        self.model.set_epoch(epoch + 1)

    def on_epoch_end(self, epoch, logs=None):
        broken = [name for name, value in (logs or {}).items() if not np.isfinite(value)]
        if broken:
            remedies = ["with a lower learning rate", *find_remedies(("schedule",), self.model)]
            warnings.warn(
                f"Training has diverged: after epoch {epoch + 1} these values are not finite: "
                f"{', '.join(broken)}. The weights cannot be used. Train again "
                f"{', or '.join(remedies)}.",
                stacklevel=2,
            )
        elif logs and self.model.has_adversary and not self._ran_away:
            self._ran_away = self._has_run_away(epoch, logs)

    def _has_run_away(self, epoch, logs):
        w = float(self.model.phase_weight)
        if w >= 1 or not {"loss", "ede1_loss", "ede2_loss"} <= set(logs):
            return False
        # Equation (7) minus (6), where Equations (1) and (2) nearly cancel.
        adversarial = (logs["ede2_loss"] - logs["ede1_loss"]) / (2 * (1 - w))
        return warn_if_running_away(epoch, adversarial, logs["loss"] / 2, self.model)
