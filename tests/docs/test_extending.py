"""The page on changing the method: its code runs as it stands, and the result can be used."""

import functools

import keras
import numpy as np
import pytest
from commands import ROOT, blocks

import ede_keras
from ede_keras.models.arguments import EDEArguments, TrainingArguments

BLOCKS = blocks((ROOT / "docs/pages/extending.md").read_text(), "python")


@pytest.fixture(scope="module")
def run_block():
    """Runs a block of the page on few small images, once; returns its names.

    `weights` are those of its model after training.
    """

    @functools.cache
    def run_block(i, size=8):
        x_train = np.random.default_rng(0).integers(0, 256, (40, size, size, 1), dtype=np.uint8)
        small = "base_width=4, latent_dim=8, min_steps=2, verbose=0, epochs=2"
        code = BLOCKS[i].replace("epochs=2", small)
        assert code != BLOCKS[i]
        names = {"x_train": x_train}
        exec(code, names)
        names["weights"] = names["model"].get_weights()
        return names

    return run_block


def assert_it_is_whole(names, tmp_path):
    """Calibrated, saved and loaded, the model scores as before."""
    model, images = names["model"], names["x_train"]
    assert len(names["history"].history["loss"]) == 2
    model.calibrate(images[:30], held_out=images[30:])
    before = model.predict(images, verbose=0)["score"]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0)["score"], before)
    assert np.ptp(before) > 0


def test_another_loss(run_block, tmp_path):
    names = run_block(0)
    assert_it_is_whole(names, tmp_path)
    for variant in (names["SparseEDE"], names["SparseAutoEncoder"]):
        own, plain = (cls((8, 8, 1), pretext="none") for cls in (variant, variant.__bases__[1]))
        plain.set_weights(own.get_weights())
        x = own.preprocessor(names["x_train"])
        rec = [float(m.objectives(x, training=False).reconstructions[0]) for m in (own, plain)]
        z = np.asarray(own.encoder1(x, training=False))
        assert rec[0] - rec[1] == pytest.approx(0.01 * np.abs(z).mean(), rel=1e-2)


def test_another_pretext(run_block, tmp_path):
    names = run_block(1)
    assert_it_is_whole(names, tmp_path)
    pretext = names["Masking"]()
    assert names["model"].pretext is not pretext
    x = np.random.default_rng(0).uniform(0.1, 1, (5, 16, 16, 1)).astype("float32")
    first, again, other = (np.asarray(pretext.views(x, step).first) for step in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert ((first == 0).sum(axis=(1, 2, 3)) == 16).all()
    np.testing.assert_array_equal(first[first != 0], x[first != 0])


def test_a_resumed_run_with_ones_own_pretext_ends_with_the_same_weights(run_block, tmp_path):
    names = run_block(1)
    arguments = {"base_width": 4, "latent_dim": 8, "min_steps": 2, "verbose": 0}
    for epochs in (1, 2):
        model, _ = ede_keras.fit_recipe(
            "default",
            names["x_train"],
            pretext=names["Masking"](),
            checkpoint_dir=tmp_path,
            epochs=epochs,
            **arguments,
        )
    for a, b in zip(model.get_weights(), names["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_other_networks(run_block, tmp_path):
    names = run_block(2, size=16)
    assert_it_is_whole(names, tmp_path)
    assert len(names["model"].encoder1.layers) == 5


def test_the_page_of_settings_is_what_the_arguments_say(run_command, tmp_path):
    run_command("docs/settings.py", tmp_path / "settings.md")
    written = (tmp_path / "settings.md").read_text(encoding="utf-8")
    assert (ROOT / "docs/pages/settings.md").read_text(encoding="utf-8") == written
    names = (*EDEArguments.names(), *TrainingArguments.names())
    assert all(f"| `{name}` |" in written for name in names) and len(names) > 20
