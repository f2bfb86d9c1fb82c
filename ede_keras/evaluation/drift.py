"""Whether the scores of new normal images still look like those of the calibration."""

from typing import NamedTuple

import numpy as np
from scipy import stats  # a dependency of scikit-learn

# Below this probability the difference is not taken for chance.
P_VALUE = 0.01
# Fewer images can hardly show a difference.
LEAST_IMAGES = 8


class Drift(NamedTuple):
    """How the scores of new normal images compare with those of the calibration.

    Args:
        p_value: The probability of a difference as large as this one, or larger, by chance.
        shift: How much higher the median score is, in deviations of the calibration's scores.
        n_images: Number of new normal images.
        n_held_out: Number of images of the calibration.
    """

    p_value: float
    shift: float
    n_images: int
    n_held_out: int

    @property
    def is_clear(self) -> bool:
        """Whether the difference is not taken for chance."""
        return self.p_value < P_VALUE

    def __str__(self) -> str:
        compared = f"{self.n_images} normal images with {self.n_held_out} held out, "
        compared += f"p = {self.p_value:.2g}"
        if not self.is_clear:
            return f"none seen ({compared})"
        direction = "higher" if self.shift > 0 else "lower"
        return (
            f"the scores have changed: their median is {abs(self.shift):.1f} deviations "
            f"{direction} ({compared}). Check camera, light and focus; if the images are as they "
            "should be, train again with some of them"
        )


def find_drift(calibration: np.ndarray, scores: np.ndarray) -> Drift:
    """Compares scores with those of the calibration, by the two-sample Kolmogorov-Smirnov test.

    Args:
        calibration: Scores of the held-out normal images that set the threshold, `(m,)`.
        scores: Scores of new normal images, `(n,)`.

    Returns:
        The comparison.

    Example:
        >>> find_drift(np.arange(50), np.arange(50) + 40).is_clear
        True
    """
    shift = np.median(scores) - np.median(calibration)
    deviation = float(np.std(calibration)) or 1.0
    p_value = float(stats.ks_2samp(calibration, scores).pvalue)
    return Drift(p_value, float(shift) / deviation, len(scores), len(calibration))
