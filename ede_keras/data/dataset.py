"""A labelled set of images, wherever it came from."""

import dataclasses

import numpy as np

from ede_keras.data.mask_files import Masks
from ede_keras.data.summary import LoadingSummary


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with class labels, in a training part and a test part as published.

    Args:
        name: Built-in name, stem of the `.npz` file, or name of the folder.
        x_train: Images `(n, height, width, channels)`, channels 1 or 3, uint8 or float32 in 0-255.
        y_train: Class labels `(n,)`, int64. They name classes, and do not say which class is
            normal. Empty if an `.npz` file has no labels.
        x_test: As `x_train`. Empty if the dataset has no test part.
        y_test: As `y_train`.
        class_names: Label to name, in the order of the labels.
        source: Where the dataset was read from.
        default_protocol: One of `ede_keras.choices.PROTOCOLS`.
        paths_train: For folders: path of each training image, relative to the folder.
        paths_test: As `paths_train`.
        is_folder: Whether the dataset was read from a folder of images.
        layout: For folders: one of `choices.LAYOUTS`, "list", "image" or "images".
        has_names: Whether the classes have names. In an `.npz` file they only have numbers.
        max_value: The value of white in pixels of more than 8 bits, as they were stored; None if
            there are none.
        knows_normal: For folders: whether label 0 is the normal class, others being anomalous.
        masks: For folders: the masks of test images, or of all if there is no test part.
        summary: What was read, and what was left out.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: dict[int, str]
    source: str
    default_protocol: str
    paths_train: np.ndarray | None = None
    paths_test: np.ndarray | None = None
    is_folder: bool = False
    layout: str | None = None
    has_names: bool = True
    max_value: int | None = None
    knows_normal: bool = False
    masks: Masks | None = None
    summary: LoadingSummary = dataclasses.field(default_factory=lambda: LoadingSummary(""))

    @property
    def has_fixed_normal(self) -> bool:
        """Whether this is a folder or list whose layout makes label 0 the normal class."""
        return self.is_folder and (self.knows_normal or len(self.class_names) == 1)
