"""The short address of `ede_keras.serving.client`."""

from ede_keras.serving.client import ScoringClient

__all__ = ["ScoringClient"]
