"""Where an anomaly is: masks of a folder in MVTec's layout, and how well maps agree with them."""

import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf
from scipy import ndimage  # comes with scikit-learn
from sklearn.metrics import auc, roc_auc_score, roc_curve

from ede_keras.data.images.files import EXTENSIONS, load_images

MASKS = "ground_truth"
# Masks and maps are compared at this height and width, as is usual for MVTec.
SIZE = 256
MAX_FPR = 0.3  # AUPRO is a mean up to this false positive rate


def find_mask(folder, file):
    """The mask of an image, a path, or None.

    Args:
        folder: Root of the layout.
        file: The image's path in it, such as "test/scratch/007.png": its mask is
            `ground_truth/scratch/007_mask.png`, or 007 with any extension of an image.
    """
    inside = Path(file).parts
    if inside[0] != "test":
        return None
    parent = Path(folder, MASKS, *inside[1:-1])
    stem = Path(file).stem
    names = [f"{stem}{ending}{extension}" for ending in ("_mask", "") for extension in EXTENSIONS]
    return next((parent / name for name in names if (parent / name).is_file()), None)


def load_masks(folder, files, true_labels):
    """The masks of test images.

    Args:
        folder: Root of the layout.
        files: The images' paths in it, `(n,)`.
        true_labels: `(n,)`, 1 for anomalous; nothing is anomalous in the others.

    Returns:
        `(masks, known)`: bool `(m, SIZE, SIZE)`, of the m images for which bool `(n,)` is true:
        the normal ones and those that have a mask. None if no anomalous image has one.
    """
    if not Path(folder, MASKS).is_dir():
        return None
    found = [
        find_mask(folder, file) if label else None
        for file, label in zip(files, true_labels, strict=True)
    ]
    with_mask = np.flatnonzero([path is not None for path in found])
    paths = [found[i] for i in with_mask]
    drawn, damaged = load_images(paths, (SIZE, SIZE, 1))
    if damaged.any():
        named = paths[damaged.argmax()]
        warnings.warn(f"{damaged.sum()} masks are damaged and left out: {named}", stacklevel=2)
        with_mask = with_mask[~damaged]
    if not len(with_mask):
        return None
    masks = np.zeros((len(found), SIZE, SIZE), bool)
    # Rounded to the nearer, so that what is half an anomaly is one.
    masks[with_mask] = drawn[..., 0] > 127
    known = np.asarray(true_labels) == 0
    known[with_mask] = True
    return masks[known], known


def compare_maps(maps, masks):
    """How well anomaly maps find the anomalous pixels.

    Args:
        maps: float32 `(n, height, width)`, higher for more anomalous; resized to the masks.
        masks: bool `(n, SIZE, SIZE)`.

    Returns:
        A dict: `pixel_auroc`; and `pixel_aupro`, the mean overlap with each connected anomalous
        region, over false positive rates up to 0.3, divided by it.

    Reference: Bergmann et al., "MVTec AD", CVPR 2019; AUPRO is of their 2020 "Uninformed
    students".
    """
    scores = tf.image.resize(maps[..., None], masks.shape[1:]).numpy().ravel()
    truth = masks.ravel()
    # Each region counts alike, however large it is: then the true positive rate is the mean
    # overlap, and AUPRO a part of the area under an ROC curve.
    weights = np.concatenate([_region_weights(mask).ravel() for mask in masks])
    fpr, overlap, _ = roc_curve(truth, scores, sample_weight=weights)
    inside = fpr < MAX_FPR
    fpr_inside = np.append(fpr[inside], MAX_FPR)
    overlap_inside = np.append(overlap[inside], np.interp(MAX_FPR, fpr, overlap))
    return {
        "pixel_auroc": float(roc_auc_score(truth, scores)),
        "pixel_aupro": float(auc(fpr_inside, overlap_inside) / MAX_FPR),
    }


def _region_weights(mask):
    """1 for a normal pixel, else one by the pixels of its region."""
    regions, _ = ndimage.label(mask, structure=np.ones((3, 3)))  # corners connect, as in MVTec's
    sizes = np.bincount(regions.ravel())
    return np.where(mask, 1 / sizes[regions], 1.0)
