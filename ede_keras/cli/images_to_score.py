"""The images that `ede-evaluate` scores with the model of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from ede_keras.cli import command, common
from ede_keras.cli.runs import find_white_for, load_split
from ede_keras.data.datasets import load_dataset
from ede_keras.data.images.decoding import MAX_VALUE
from ede_keras.data.mask_files import Masks
from ede_keras.data.protocols import whole_set
from ede_keras.models.detector import AnomalyDetector

FLAGS = flags.FLAGS
# Layouts of images that were named one by one, or by a pattern.
NAMED = ("image", "images")


class ImagesToScore(NamedTuple):
    """The images to score with the model of a run.

    Args:
        stem: Stem of the output files.
        images: Array `(n, height, width, channels)`, 0 to 255.
        true_labels: int32 `(n,)`, 1 for anomalous, 0 for normal. None if unknown.
        ids: Path relative to the images' folder, or index, of each image.
        masks: The masks of the images, if they have some.
        named: Whether the images were named one by one, or by a pattern.
        folder: The folder that `ids` are relative to; None if the images are no files.
    """

    stem: str
    images: np.ndarray
    true_labels: np.ndarray | None
    ids: np.ndarray
    masks: Masks | None
    named: bool = False
    folder: Path | None = None

    def sources(self) -> Any:
        """The file of each image, or its pixels if it is no file."""
        if self.folder is None:
            return self.images
        return [self.folder / name for name in self.ids]


def load_images_to_score(
    config: Mapping[str, Any], model: AnomalyDetector, output_dir: Path
) -> ImagesToScore:
    """Loads the run's test set, or `--dataset`, and writes what was read to `output_dir`.

    Args:
        config: The config of the run.
        model: The model of the run.
        output_dir: Folder to write to.

    Raises:
        InputError: The images cannot be used, or a flag does not fit.
    """
    if FLAGS.dataset is None:
        command.refuse_flags(
            ("layout", "strict", "normal", "all_normal"),
            "works only with --dataset, a folder; leave it out",
        )
        split = load_split(config, FLAGS.data_dir, model.image_shape)
        shown = split.x_test, split.y_test, split.test_ids, split.masks
        place = config["dataset_path"] if common.has_paths(split.test_ids) else None
        return ImagesToScore("evaluation", *shown, folder=find_folder(place))
    dataset = load_dataset(
        FLAGS.dataset,
        FLAGS.data_dir,
        model.image_shape,
        need_labels=False,
        strict=FLAGS.strict,
        layout=FLAGS.layout,
        verbose=command.bars(),
        max_value=find_white_for(config, FLAGS.dataset[0]),
        normal=FLAGS.normal,
    )
    common.print_summary(dataset)
    if dataset.is_folder and dataset.max_value and not config.get("max_value"):
        print(f"  the run has no files of 16 bits, so {MAX_VALUE} is white, as in its export")
    normal_name = FLAGS.normal or config["normal_name"]
    images, true_labels, ids = whole_set(dataset, FLAGS.normal or config["normal"], normal_name)
    if unscored := len(dataset.x_train) + len(dataset.x_test) - len(images):
        print(f"{unscored} images of the training part are not scored")
    named = dataset.layout in NAMED
    if FLAGS.all_normal:
        command.refuse_flags(("normal",), "contradicts --all_normal; leave one out")
        true_labels = np.zeros(len(images), np.int32)
    if true_labels is None and not named:
        print_unlabelled(dataset.name, repr(normal_name))
    stem = f"evaluation-{dataset.name}"
    names = (f"{stem}-{name}" for name in ("data.json", "left_out.csv"))
    common.write_summary(dataset, *(output_dir / name for name in names))
    folder = find_folder(dataset.source) if dataset.is_folder else None
    return ImagesToScore(stem, images, true_labels, ids, dataset.masks, named, folder)


def find_folder(place: str | None) -> Path | None:
    """The folder of a data set of files: itself, or that of a list or an image; None for None."""
    if place is None:
        return None
    path = Path(place)
    return path.parent if path.is_file() else path


def print_unlabelled(name: str, normal_name: str) -> None:
    """Prints that the true labels of a data set are unknown."""
    print(
        f"{name} does not say which of its images are normal, for example by a class named "
        f"{normal_name}: the true labels stay blank, and there are no metrics."
    )
