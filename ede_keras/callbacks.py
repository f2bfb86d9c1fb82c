"""The short address of `ede_keras.training.callbacks`."""

from ede_keras.training.callbacks import (
    CtrlC,
    EpochCheckpoint,
    cosine_decay,
    learning_rate_callbacks,
)

__all__ = ["CtrlC", "EpochCheckpoint", "cosine_decay", "learning_rate_callbacks"]
