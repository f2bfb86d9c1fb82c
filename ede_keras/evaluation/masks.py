"""Masks of a folder in MVTec's layout, and metrics that compare anomaly maps with them."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from scipy import ndimage  # a dependency of scikit-learn
from sklearn.metrics import auc, roc_auc_score, roc_curve

from ede_keras.data.images.files import EXTENSIONS, load_images
from ede_keras.utils.files import StrPath

MASK_FOLDER = "ground_truth"
# Masks and maps are compared at this height and width, as is usual for MVTec.
SIZE = 256
MAX_FPR = 0.3  # AUPRO is a mean over false positive rates up to this one


def find_mask(folder: StrPath, file: str) -> Path | None:
    """Finds the mask of an image.

    Args:
        folder: Root of the layout.
        file: Path of the image relative to `folder`, such as "test/scratch/007.png". Its mask is
            "ground_truth/scratch/007_mask.png" or "ground_truth/scratch/007.png", with any image
            extension.

    Returns:
        The path of the mask. None if there is no mask, or the image is not in "test".
    """
    parts = Path(file).parts
    if parts[0] != "test":
        return None
    parent = Path(folder, MASK_FOLDER, *parts[1:-1])
    stem = Path(file).stem
    names = [f"{stem}{suffix}{extension}" for suffix in ("_mask", "") for extension in EXTENSIONS]
    return next((parent / name for name in names if (parent / name).is_file()), None)


def load_masks(
    folder: StrPath, files: Sequence[str] | np.ndarray, true_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Loads the masks of test images. Warns of damaged masks, and skips them.

    Args:
        folder: Root of the layout.
        files: Paths of the n images relative to `folder`.
        true_labels: Integers `(n,)`, 1 for anomalous, 0 for normal.

    Returns:
        `(masks, known)`. `known` is bool `(n,)`, true for normal images and for anomalous images
        with a mask, m in total. `masks` is bool `(m, SIZE, SIZE)`, true for anomalous pixels;
        normal images have none. Returns None if no anomalous image has a mask.
    """
    if not Path(folder, MASK_FOLDER).is_dir():
        return None
    found = [
        find_mask(folder, file) if label else None
        for file, label in zip(files, true_labels, strict=True)
    ]
    with_mask = np.flatnonzero([path is not None for path in found])
    paths = [path for path in found if path is not None]
    loaded, damaged = load_images(paths, (SIZE, SIZE, 1))
    if damaged.any():
        warnings.warn(
            f"Skipped {damaged.sum()} damaged masks, such as {paths[damaged.argmax()]}",
            stacklevel=2,
        )
        with_mask = with_mask[~damaged]
    if not len(with_mask):
        return None
    masks = np.zeros((len(found), SIZE, SIZE), bool)
    # Resizing blurs the edges; a pixel that is at least half anomalous counts as anomalous.
    masks[with_mask] = loaded[..., 0] > 127
    known = np.asarray(true_labels) == 0
    known[with_mask] = True
    return masks[known], known


def compare_maps(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """Measures how well anomaly maps find the anomalous pixels.

    Args:
        maps: float32 `(n, height, width)`, higher means more anomalous. They are resized to the
            masks.
        masks: bool `(n, SIZE, SIZE)`, true for anomalous pixels. Both kinds of pixels must occur.

    Returns:
        A dict of floats in [0, 1]: `pixel_auroc`, and `pixel_aupro`, the overlap with each
        connected anomalous region, averaged over the regions and over false positive rates from
        0 to 0.3.

    Reference:
        Bergmann et al., "MVTec AD", CVPR 2019; AUPRO: Bergmann et al., "Uninformed students",
        CVPR 2020.
    """
    scores = tf.image.resize(maps[..., None], masks.shape[1:]).numpy().ravel()
    truth = masks.ravel()
    # All regions have the same total weight, whatever their size. With these weights the true
    # positive rate is the mean overlap, and AUPRO is a part of the area under an ROC curve.
    weights = np.concatenate([_region_weights(mask).ravel() for mask in masks])
    fpr, overlap, _ = roc_curve(truth, scores, sample_weight=weights)
    inside = fpr < MAX_FPR
    fpr_inside = np.append(fpr[inside], MAX_FPR)
    overlap_inside = np.append(overlap[inside], np.interp(MAX_FPR, fpr, overlap))
    return {
        "pixel_auroc": float(roc_auc_score(truth, scores)),
        "pixel_aupro": float(auc(fpr_inside, overlap_inside) / MAX_FPR),
    }


def _region_weights(mask: np.ndarray) -> np.ndarray:
    """1 for a normal pixel, 1 / (pixels of its region) for an anomalous one."""
    # Pixels that touch at a corner are connected, as in MVTec's evaluation.
    regions, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(regions.ravel())
    return np.where(mask, 1 / sizes[regions], 1.0)
