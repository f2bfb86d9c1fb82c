import numpy as np
import pytest

from ede_keras.models import losses

X = np.array([[0.0, 1.0], [-1.0, 0.5]], "float32")
X_I = np.array([[0.5, 0.0], [-1.0, 0.0]], "float32")
Z = np.array([[0.1], [0.4]], "float32")
Z_I = np.array([[0.3], [0.0]], "float32")


@pytest.mark.parametrize(
    ("norm", "expected"), [("l1", [0.75, 0.25]), ("l2", [(0.25 + 1) / 2, 0.25 / 2])]
)
def test_distance_is_per_image(norm, expected):
    np.testing.assert_allclose(losses.distance(X, X_I, norm), expected)


def test_distance_is_taken_over_all_axes_of_an_image():
    a, b = np.random.default_rng(0).uniform(-1, 1, (2, 5, 4, 4, 3)).astype("float32")
    expected = [np.abs(a[i] - b[i]).sum() / 48 for i in range(5)]
    np.testing.assert_allclose(losses.distance(a, b), expected, rtol=1e-6)


# By hand: d(x, x_i) = .75, .25, mean .5; d(z, z_i) = .2, .4, mean .3.
def test_equations_1_and_2():
    loss = losses.reconstruction_loss(X, X_I, Z, Z_I, image_weight=50, latent_weight=2)
    np.testing.assert_allclose(loss, 50 * 0.5 + 2 * 0.3, rtol=1e-6)


def test_equation_3():
    loss = losses.adversarial_objective(X, X_I, Z, Z_I, image_weight=3, latent_weight=10)
    np.testing.assert_allclose(loss, 3 * 0.5 + 10 * 0.3, rtol=1e-6)


def test_equations_4_and_5_are_opposite():
    assert losses.ede1_adversarial_loss(1.7) == -1.7
    assert losses.ede2_adversarial_loss(1.7) == 1.7


@pytest.mark.parametrize("n", [1, 2, 5])
def test_equations_6_and_7(n):
    rec, adv = 2.0, 0.6
    np.testing.assert_allclose(losses.ede1_loss(rec, adv, 1 / n), rec / n - (1 - 1 / n) * adv)
    np.testing.assert_allclose(losses.ede2_loss(rec, adv, 1 / n), rec / n + (1 - 1 / n) * adv)
