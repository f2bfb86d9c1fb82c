"""How small a foreign patch a detector finds in normal images; no anomalous image is needed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from ede_keras.models.detector import AnomalyDetector

# Sides of the patches, as shares of the images' shorter side.
SHARES = (1 / 16, 1 / 8, 1 / 4)
MOST_IMAGES = 24
# About so many places along a side are enough to compare maps.
MAP_SIDE = 128


class PatchesFound(NamedTuple):
    """What a detector makes of patches of one size.

    Args:
        side: Their height and width in pixels of the images as the detector gets them.
        within: Height and width of these images.
        found: The share of images with a patch that are labelled anomalous.
        auroc: AUROC of the scores of images with and without a patch.
        pixel_auroc: AUROC of the anomaly maps of images with a patch: pixels within it and others.
    """

    side: int
    within: tuple[int, int]
    found: float
    auroc: float
    pixel_auroc: float


def paste_patches(images: np.ndarray, side: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pastes a patch into each image: of another image and another place, or plain, by chance.

    Args:
        images: `(n, height, width, channels)`, 0 to 255.
        side: Height and width of the patches, at most the images' shorter side.
        seed: Of all that is random.

    Returns:
        `(pasted, masks)`: images of the same shape and dtype, and bool `(n, height, width)`, true
        within the patch. The patch may look like what it covers.
    """
    random = np.random.default_rng(seed)
    n, height, width, channels = images.shape
    pasted, masks = images.copy(), np.zeros(images.shape[:3], bool)

    def anywhere():
        top, left = random.integers(height - side + 1), random.integers(width - side + 1)
        return slice(top, top + side), slice(left, left + side)

    for i in range(n):
        other = images[(i + 1 + random.integers(max(n - 1, 1))) % n]
        place, source = anywhere(), anywhere()
        plain = random.integers(0, 256, (1, 1, channels))
        pasted[i][place] = other[source] if random.random() < 0.5 else plain
        masks[i][place] = True
    return pasted, masks


def find_patches(model: AnomalyDetector, images: np.ndarray) -> list[PatchesFound]:
    """Measures what a calibrated detector makes of patches in held-out normal images.

    Args:
        model: The detector.
        images: `(n, *image_shape)`, 0 to 255; the first `MOST_IMAGES` are used.

    Returns:
        The results, from the smallest patches to the largest.
    """
    images = np.asarray(images[:MOST_IMAGES])
    batch = model.scale_batch_size(256)
    before = model.predict(images, batch_size=batch, verbose=0)["score"]
    labels = np.repeat([0, 1], len(images))
    shorter = min(images.shape[1:3])
    step = max(shorter // MAP_SIDE, 1)
    results = []
    for side in sorted({max(round(share * shorter), 1) for share in SHARES}):
        pasted, masks = paste_patches(images, side)
        found = model.predict(pasted, batch_size=batch, verbose=0)
        within, maps = (a[:, ::step, ::step].ravel() for a in (masks, found["anomaly_map"]))
        results.append(
            PatchesFound(
                side,
                images.shape[1:3],
                float(found["label"].mean()),
                float(roc_auc_score(labels, np.concatenate([before, found["score"]]))),
                float(roc_auc_score(within, maps)),
            )
        )
    return results


def describe_patches(results: Sequence[Mapping[str, Any]]) -> str:
    """The shares found, in words: 67% of 28 x 28 pixels, 100% of 56 x 56; images of 448 x 448."""
    first, *others = (f"{r['found']:.0%} of {r['side']} x {r['side']}" for r in results)
    height, width = results[0]["within"]
    return f"{', '.join([f'{first} pixels', *others])}; images of {height} x {width}"
