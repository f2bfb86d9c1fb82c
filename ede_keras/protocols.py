"""The short address of `ede_keras.data.protocols`."""

from ede_keras.choices import PROTOCOLS
from ede_keras.data.protocols import Split, make_split, whole_set

__all__ = ["PROTOCOLS", "Split", "make_split", "whole_set"]
