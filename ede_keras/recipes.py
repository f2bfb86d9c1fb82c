"""The short address of `ede_keras.models.recipes`."""

from ede_keras.models.recipes import RECIPES, get_recipe

__all__ = ["RECIPES", "get_recipe"]
