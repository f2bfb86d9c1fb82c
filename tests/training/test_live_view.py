"""What TensorBoard is given to show, read back by its own reader."""

import numpy as np
import pytest
import tensorflow as tf

from ede_keras.models.variants import VARIANTS
from ede_keras.training.live_view import LiveView, draw_grid


def test_pictures_are_x_x1_x2_x2p_and_their_residual(build, images):
    model = build()
    x = model.preprocessor(images[:3])
    z = model.encoder1(x)
    x1, x2 = model.decoder1(z), model.decoder2(z)
    x2p = model.decoder1(model.encoder2(x2))
    (grid,) = draw_grid(model, images[:3])
    assert grid.shape == (3 * 16, 5 * 16, 1)
    for i in range(3):
        row = grid[16 * i : 16 * (i + 1)]
        for j, column in enumerate((x, x1, x2, x2p)):
            cell = row[:, 16 * j : 16 * (j + 1)]
            np.testing.assert_allclose(cell, (column[i] + 1) / 2, atol=1e-5)
        np.testing.assert_allclose(row[:, 64:], np.abs(x[i] - x2[i]) / 2, atol=1e-5)


@pytest.mark.parametrize(("variant", "columns"), [("single_ede", 3), ("autoencoder", 3)])
def test_pictures_of_the_smaller_variants(build, images, variant, columns):
    assert draw_grid(build(VARIANTS[variant]), images[:2]).shape == (1, 32, 16 * columns, 1)


def read_events(folder):
    """All values of a log folder by tag."""
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is not installed: pip install 'ede-keras[tensorboard]'",
    )
    events = reader.EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


@pytest.mark.slow
def test_phase_weight_terms_and_pictures(build, images, tmp_path):
    read_events(tmp_path)  # skips without TensorBoard
    model = build(schedule="inverse_epoch", pretext="rotations")
    model.fit(images, epochs=3, verbose=0, callbacks=[LiveView(tmp_path, images[:9])])
    found = read_events(tmp_path)
    weights = [float(value) for _, value in found["phase_weight"]]
    assert weights == pytest.approx([1, 1 / 2, 1 / 3])
    assert [step for step, _ in found["regenerated"]] == [0, 2]
    assert {"held_out/z_z2", "held_out/z_z2p", "held_out/pretext"} <= set(found)
    assert "held_out/latent_distance" not in found
    objectives = model.objectives(model.preprocessor(images[:9]), training=False)
    last = [*objectives.reconstructions, objectives.adversarial]
    for tag, loss in zip(("phase1_ede1", "phase1_ede2", "phase2"), last, strict=True):
        assert found[f"held_out/{tag}"][-1][1] == pytest.approx(float(loss))
    width, height, png = found["regenerated"][0][1][:3]
    assert (int(width), int(height)) == (5 * 16, 8 * 16)
    assert tf.io.decode_png(png).shape[:2] == (8 * 16, 5 * 16)


@pytest.mark.slow
def test_the_command_writes_logs(run_dir, tmp_path):
    read_events(tmp_path)
    logs = run_dir / "logs"
    assert "epoch_loss" in read_events(logs / "train")
    assert "epoch_ede1_loss" in read_events(logs / "validation")
    assert len(read_events(logs / "view")["phase_weight"]) == 3
