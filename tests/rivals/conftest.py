"""What the tests of the methods share."""

import numpy as np
import pytest


@pytest.fixture
def x():
    """A batch in [-1, 1]."""
    return np.random.default_rng(0).uniform(-1, 1, (5, 16, 16, 1)).astype("float32")
