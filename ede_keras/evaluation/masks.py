"""Metrics that compare anomaly maps with masks."""

import numpy as np
import tensorflow as tf
from scipy import ndimage  # a dependency of scikit-learn
from sklearn.metrics import auc, roc_auc_score, roc_curve

MAX_FPR = 0.3  # AUPRO is a mean over false positive rates up to this one


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
