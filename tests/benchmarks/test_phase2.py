"""The study of phase 2: its forms against hand arithmetic, its runner and its page."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import pages, phase2, phase2_forms, phase2_report, tables
from ede_keras.layers.damage import damage

W = 0.75  # the weight of phase 1


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(-1, 1, (6, 16, 16, 1)).astype("float32")


@pytest.fixture
def make():
    def make(form):
        keras.utils.set_random_seed(0)
        settings = {"pretext": "none", "components": 0, "lighting": 0.0, "norm": "l1"}
        model = form((16, 16, 1), image_size=16, base_width=2, latent_dim=3, **settings)
        model.compile(keras.optimizers.SGD(0.1))
        return model

    return make


def mean_difference(a, b):
    return np.abs(np.asarray(a, "float64") - np.asarray(b, "float64")).mean()


def test_balanced(make, x):
    model = make(phase2_forms.Balanced)
    model.k.assign(0.2)
    rec, latents = model.phase1(x, training=True)
    for_d1, for_d2 = model.decoder_losses(x, rec, latents, W)
    z, z2 = latents
    x2p = model.decoder1(z2, training=True)
    z2p = model.encoder2(x2p, training=True)
    adversarial = model.image_weight * mean_difference(x, x2p)
    adversarial += model.latent_weight * mean_difference(z, z2p)
    np.testing.assert_allclose(for_d1, -0.2 * adversarial, rtol=1e-5)
    np.testing.assert_allclose(for_d2, 0.1 * adversarial, rtol=1e-5)
    expected = 0.2 + 0.01 * (0.5 - adversarial / float(rec[0]))
    np.testing.assert_allclose(model.k, expected, rtol=1e-5)
    assert model.phase1_weight(W) == 1


def test_margin(make, x):
    model = make(phase2_forms.Margin)
    rec, latents = model.phase1(x, training=True)
    for_d1, for_d2 = model.decoder_losses(x, rec, latents, W)
    damaged = damage(x, 1.0, 0)
    assert (np.abs(damaged - x).max(axis=(1, 2, 3)) > 0).all()
    z = model.encoder1(damaged, training=True)
    usual = mean_difference(x, model.decoder1(latents[0], training=True))
    missed = mean_difference(damaged, model.decoder1(z, training=True))
    assert missed < 3 * usual
    np.testing.assert_allclose(for_d1, (1 - W) * (3 * usual - missed), rtol=1e-4)
    restored = mean_difference(x, model.decoder2(z, training=True))
    np.testing.assert_allclose(for_d2, (1 - W) * restored, rtol=1e-5)


def test_kept_behind(make, x):
    model = make(phase2_forms.KeptBehind)
    rec, latents = model.phase1(x, training=True)
    assert float(model.decoder_losses(x, rec, latents, W)[0]) == 0  # nothing is kept yet
    model.set_epoch(2)
    kept = model.decoder2(latents[0], training=False)
    weights = model.decoder2.get_weights()
    model.decoder2.set_weights([-weight for weight in weights])
    model.set_epoch(3)
    for_d1, for_d2 = model.decoder_losses(x, rec, latents, W)
    z2 = model.encoder2(kept, training=True)
    told = mean_difference(x, model.decoder1(z2, training=True))
    assert told < 3 * mean_difference(x, model.decoder2(latents[0], training=True))
    np.testing.assert_allclose(for_d1, -(1 - W) * told, rtol=1e-4)
    assert for_d2 is None
    # Images that D2 hits set a low limit.
    easy = model.decoder2(latents[0], training=True) + 0.01
    limited = model.decoder_losses(easy, rec, latents, W)[0]
    np.testing.assert_allclose(limited, -(1 - W) * 0.03, rtol=1e-3)


def test_mined(make, x):
    model = make(phase2_forms.Mined)
    start = tf.random.stateless_uniform((6, 3), [9, 0], -1.0, 1.0)
    mined = model._mine(start, model.decoder1)
    missed = [float(model._miss(z, model.decoder1)) for z in (start, mined)]
    assert missed[1] > missed[0]
    assert np.abs(mined).max() <= 1 and np.abs(mined - start).max() <= 0.3 + 1e-6
    rec, latents = model.phase1(x, training=True)
    losses = model.decoder_losses(x, rec, latents, W)
    back = model.encoder2(model.decoder1(mined, training=True), training=True)
    np.testing.assert_allclose(losses[0], (1 - W) * mean_difference(mined, back), rtol=1e-4)


@pytest.mark.parametrize("form", phase2_forms.StudiedForm.__subclasses__())
def test_a_form_moves_the_decoders_alone(form, make, x):
    """Without phase 1 nothing else is trained."""
    model = make(type("Alone", (form,), {"phase1_weight": lambda self, w: 0.0}))
    if form is phase2_forms.Balanced:
        model.k.assign(0.5)
    model.set_epoch(2)
    model.set_epoch(4)
    moved = [*model.decoder1.trainable_variables]
    if form is not phase2_forms.KeptBehind:
        moved += model.decoder2.trainable_variables
    before = [np.array(v) for v in model.trainable_variables]
    model.fit((x + 1) * 127.5, epochs=5, initial_epoch=4, verbose=0)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        is_moved = not np.array_equal(variable, old)
        # A gradient may be 0 by chance, but not for a whole decoder.
        assert not is_moved or any(variable is v for v in moved)
    for decoder in model.decoders[: 1 if form is phase2_forms.KeptBehind else 2]:
        names = {v.path for v in decoder.trainable_variables}
        changed = [
            not np.array_equal(v, old)
            for v, old in zip(model.trainable_variables, before, strict=True)
            if v.path in names
        ]
        assert sum(changed) > len(changed) / 2


def test_gains_are_those_of_the_same_seed():
    lines = [
        {"base": "no pretext", "form": form, "dataset": "mnist", "normal": 8, "seed": seed}
        | {"auroc": auroc, "x_x1": 0.9}
        for form, aurocs in {"none": (0.8, 0.7), "bounded": (0.9, 0.7)}.items()
        for seed, auroc in zip((100, 101), aurocs, strict=True)
    ]
    lines.append({**lines[-1], "seed": 102, "auroc": 0.1})  # has no counterpart
    rows = phase2_report.render_gains(lines, "no pretext").splitlines()
    assert rows[2:] == ["| none | .750 |  |", "| bounded | .567 | +0.050 ± 0.050 |"]
    assert phase2_report.render_gains(lines, "pretext") == "Not measured yet."
    rows = phase2_report.render_distances(lines, "no pretext", ("mnist", 8)).splitlines()
    assert rows[2:] == ["| none | .900 |  |  |  |  |  |", "| bounded | .900 |  |  |  |  |  |"]


def test_the_committed_lines_are_on_their_page():
    page = phase2.PAGE.read_text()
    lines = tables.read_lines(phase2.RESULTS)
    assert lines
    for name, part in phase2_report.render_all(lines, list(phase2.BASES)).items():
        assert pages.split_at_marks(page, name)[1] == part + "\n"
    assert phase2.PICTURE.exists()


@pytest.mark.slow
def test_runs_are_kept_and_skipped(run_command, tmp_path):
    script = f"""
import sys
from absl import flags
from benchmarks import phase2
phase2.define_flags()
flags.FLAGS(["phase2", "--datasets=drawn", "--seeds=100", "--bases=no pretext",
             "--forms=none,plain autoencoder,kept behind", "--results={tmp_path}/lines.jsonl"])
phase2.TASKS = (("drawn", 20),)
phase2.BASES["no pretext"][1].update(epochs=2, base_width=4, min_steps=2)
phase2.main([])
"""
    run_command("-c", script)
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [line["form"] for line in lines] == ["none", "plain autoencoder", "kept behind"]
    assert all(0 <= line["auroc"] <= 1 for line in lines)
    assert all(len(line["by_epoch"]["auroc"]) == 2 for line in lines)
    assert "x_x2p" in lines[2] and "x_x2p" not in lines[1]
    assert run_command("-c", script).stdout.strip() == ""
