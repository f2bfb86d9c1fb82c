import numpy as np

from ede_keras.models import schedules

EPOCHS = np.array([1, 2, 3, 4, 100], "float32")


def test_inverse_epoch():
    np.testing.assert_allclose(schedules.inverse_epoch(EPOCHS), [1, 1 / 2, 1 / 3, 1 / 4, 0.01])


def test_floor():
    weights = schedules.floored_inverse_epoch(EPOCHS, floor=0.3)
    np.testing.assert_allclose(weights, [1, 1 / 2, 1 / 3, 0.3, 0.3])
