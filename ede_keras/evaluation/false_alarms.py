"""How often a threshold from few normal images will call a new normal image anomalous."""

from typing import NamedTuple

from scipy import stats  # a dependency of scikit-learn

CONFIDENCE = 0.95


class FalseAlarms(NamedTuple):
    """The share of new normal images that will score above the threshold.

    Args:
        expected: Its mean over all sets of so many held-out images.
        low: The lower end of its 95% interval.
        high: The upper end.
        n_held_out: The number of held-out images that the threshold comes from.
    """

    expected: float
    low: float
    high: float
    n_held_out: int

    def __str__(self) -> str:
        return (
            f"{self.expected:.0%} of normal images expected; from {self.n_held_out} held out, "
            f"between {self.low:.0%} and {self.high:.0%}"
        )


def expect_false_alarms(n_held_out: int, n_above: int) -> FalseAlarms:
    """The share of false alarms that a threshold promises.

    If new normal images are like the held-out ones, the share that scores above the one ranked
    k-th of n has the distribution Beta(k, n + 1 − k), whatever the distribution of the scores.

    Args:
        n_held_out: The number n of held-out normal images, at least 1.
        n_above: How many of them score above the threshold, which is itself the next score; so k
            is `n_above` + 1.

    Returns:
        The mean and the interval that holds it with 95% confidence.

    Example:
        >>> str(expect_false_alarms(23, 0))
        '4% of normal images expected; from 23 held out, between 0% and 15%'

    Reference: Vovk, "Conditional validity of inductive conformal predictors", ACML 2012.
    """
    share = stats.beta(n_above + 1, n_held_out - n_above)
    low, high = share.interval(CONFIDENCE)
    return FalseAlarms(float(share.mean()), float(low), float(high), n_held_out)
