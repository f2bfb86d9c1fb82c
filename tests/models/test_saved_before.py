"""A file that version 0.1.0 saved, when the package was one flat folder, still loads.

`saved_by_0.1.0.keras` holds a small model of recipe "default" with pretext "rotations", trained for
two epochs on the images below and calibrated with them. The values are that version's.
"""

from pathlib import Path

import keras
import numpy as np
import pytest

import ede_keras

SAVED = Path(__file__).with_name("saved_by_0.1.0.keras")
THRESHOLD = 1.7081421613693237
SCORES = [
    0.7688400745391846,
    -3.3270416259765625,
    0.3450196385383606,
    1.350354790687561,
    -0.3760106563568115,
]


def test_a_model_that_was_saved_before_the_folders_scores_as_then():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    model = keras.saving.load_model(SAVED)
    assert type(model) is ede_keras.EDE
    assert model.threshold == THRESHOLD
    assert model.pixel_threshold == np.inf  # there was none
    found = model.predict(images, verbose=0)
    # Another processor sums in another order.
    np.testing.assert_allclose(found["score"][:5], SCORES, rtol=1e-3, atol=1e-3)
    assert found["label"].sum() == (found["score"] > THRESHOLD).sum() > 0


def test_its_training_goes_on():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    model = keras.saving.load_model(SAVED)
    assert float(model.epoch) == 2
    for optimizer in (model.optimizer, model.ede2_optimizer):
        assert int(optimizer.iterations) == 6  # 2 epochs of 3 batches
        moments = [variable.numpy() for variable in optimizer.variables[2:]]
        assert any(np.abs(moment).max() > 0 for moment in moments)
    history = model.fit(images, batch_size=16, initial_epoch=2, epochs=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert float(model.epoch) == pytest.approx(3)
