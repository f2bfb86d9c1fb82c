"""What `fit` adds to the callbacks of its user: the model follows the epoch."""

import warnings

import keras
import numpy as np


def with_epoch_follower(callbacks, model):
    """The callbacks with `_EpochFollower` first: the others are to see the epoch's own state."""
    follower = _EpochFollower()
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
        return [follower, *filter(None, callbacks)]
    if not any(isinstance(callback, _EpochFollower) for callback in callbacks.callbacks):
        follower.set_model(model)
        callbacks.callbacks.insert(0, follower)
    return callbacks


class _EpochFollower(keras.callbacks.Callback):
    """n = Keras' epoch + 1, whatever epoch `fit` starts at; and a word when a loss is lost."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.set_epoch(epoch + 1)

    def on_epoch_end(self, epoch, logs=None):
        broken = [name for name, value in (logs or {}).items() if not np.isfinite(value)]
        if broken:
            warnings.warn(
                f"Training has diverged: {', '.join(broken)} not finite after epoch {epoch + 1}. "
                "Lower the learning rate, or use `schedule='floored_inverse_epoch'`; the weights "
                "are of no use, begin anew.",
                stacklevel=2,
            )
