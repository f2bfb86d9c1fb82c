"""The short address of `ede_keras.data.datasets`."""

from ede_keras.data.dataset import Dataset
from ede_keras.data.datasets import (
    BUILT_IN,
    list_classes,
    list_folder,
    load_dataset,
    resolve_normal,
)

__all__ = [
    "BUILT_IN",
    "Dataset",
    "list_classes",
    "list_folder",
    "load_dataset",
    "resolve_normal",
]
