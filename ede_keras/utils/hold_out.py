"""How many normal images are held out of training, for the scale of the score and the threshold."""


def count_held_out(n: int) -> int:
    """How many of n normal images are held out of training.

    A tenth, but at least 32; of fewer than 160 images a fifth (see `count_fifth`). More images to
    train on separate better, and fewer than 4 say nothing about the share of false alarms:
    `benchmarks.held_out` measures both.
    """
    return min(max(n // 10, 32), count_fifth(n))


def count_fifth(n: int) -> int:
    """A fifth of n images, but at least 4, and never more than half of them."""
    return max(n // 5, min(4, n // 2))
