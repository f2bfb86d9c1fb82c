"""The short address of `ede_keras.data.protocols`."""

from ede_keras.data.protocols import PROTOCOLS, Split, make_split, whole_set

__all__ = ["PROTOCOLS", "Split", "make_split", "whole_set"]
