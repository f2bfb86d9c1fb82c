"""Other methods, as detectors: what all of them promise."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from makers import make_backbone
from sklearn.metrics import roc_auc_score

import ede_keras
from ede_keras.backbones.backbone import Backbone, choose_maps
from ede_keras.backbones.sources import hash_file
from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.errors import InputError
from ede_keras.rivals import RIVALS
from ede_keras.training.fit_rival import resolve_rival

# A few epochs on the digits; an untrained model of a method stays below its floor.
SHORT = {"epochs": 2, "base_width": 8}
FLOORS = {
    "vae": 0.9,
    "deep_svdd": 0.8,
    "ganomaly": 0.6,
    "anogan": 0.85,
    "gpnd": 0.9,
    "ocgan": 0.9,
    "dagpr": 0.8,
    "pixelcnn": 0.8,
    "anonagn": 0.9,
    "puzzle_ae": 0.8,
    "piad": 0.8,
    "addpa": 0.9,
    "one_class_svm": 0.95,
    "kernel_density": 0.95,
    "pca": 0.95,
    "isolation_forest": 0.95,
    "nearest_neighbour": 0.95,
}


@pytest.fixture(scope="module")
def split():
    return make_split(load_dataset("digits"), "split80", normal=6, seed=0)


def short(method):
    if not RIVALS[method].has_epochs:
        return {}
    return {**SHORT, **backbone_of(method)}


def backbone_of(method):
    """A small frozen network, for a method that has one."""
    if "backbone" not in inspect.signature(RIVALS[method]).parameters:
        return {}
    return {"backbone": Backbone(choose_maps(make_backbone()), mean=127.0, scale=128.0)}


@pytest.fixture(scope="module", params=RIVALS)
def trained(request, split):
    """`(name, calibrated model)`."""
    model, _ = ede_keras.fit_rival(request.param, split.x_train, verbose=0, **short(request.param))
    model.calibrate(split.x_train, held_out=split.x_val)
    return request.param, model


def test_it_separates_as_an_untrained_one_does_not(trained, split):
    name, model = trained
    auroc = roc_auc_score(split.y_test, model.predict(split.x_test, verbose=0)["score"])
    assert auroc > FLOORS[name]
    keras.utils.set_random_seed(1)
    _, arguments, _ = resolve_rival(name, **short(name))
    fresh = RIVALS[name](split.x_train.shape[1:], **arguments)
    fresh.set_threshold(0)  # silences the warning
    untrained = fresh.predict(split.x_test, verbose=0)["score"]
    assert roc_auc_score(split.y_test, untrained) < FLOORS[name]


def test_outputs_are_those_of_every_detector(trained, split):
    _, model = trained
    found = model.predict(split.x_test, verbose=0)
    assert set(found) == {"score", "label", "anomaly_map"}
    assert found["score"].dtype == "float32" and np.isfinite(found["score"]).all()
    np.testing.assert_array_equal(found["label"], found["score"] > model.threshold)
    assert found["anomaly_map"].shape == split.x_test.shape[:3]
    held_out = model.predict(split.x_val, verbose=0)["score"]
    assert (held_out > model.threshold).mean() <= model.contamination
    terms = model.compute_terms(split.x_test)
    total = sum(model.score_weights[name] * term for name, term in terms.items())
    np.testing.assert_allclose(found["score"], total, rtol=1e-4, atol=1e-5)


def test_a_score_does_not_depend_on_the_batch(trained, split):
    _, model = trained
    scores = model.predict(split.x_test, verbose=0)["score"]
    alone = model.predict(split.x_test[:1], verbose=0)["score"]
    np.testing.assert_allclose(alone, scores[:1], rtol=1e-3, atol=1e-4)


def test_saved_and_exported(trained, split, tmp_path, run_command, export_unchecked):
    """The file is read in another process."""
    _, model = trained
    scores = model.predict(split.x_test, verbose=0)["score"]
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", split.x_test)
    script = f"""
import keras, numpy as np
import ede_keras
model = keras.saving.load_model({str(tmp_path / "model.keras")!r})
found = model.predict(np.load({str(tmp_path / "images.npy")!r}), verbose=0)
np.save({str(tmp_path / "scores.npy")!r}, found["score"])
print(model.threshold)
"""
    done = run_command("-c", script)
    assert float(done.stdout.split()[-1]) == model.threshold
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), scores, rtol=1e-4, atol=1e-5)
    path = export_unchecked(model, tmp_path / "exported")
    served = tf.saved_model.load(path).signatures["serving_default"]
    found = served(images=tf.constant(split.x_test, "float32"))["score"]
    np.testing.assert_allclose(found, scores, rtol=1e-3, atol=1e-4)


def test_the_same_seed_gives_the_same_model(split):
    scores = []
    for _ in range(2):
        model, _ = ede_keras.fit_rival("vae", split.x_train, verbose=0, seed=3, **SHORT)
        model.set_threshold(0)
        scores.append(model.predict(split.x_test, verbose=0)["score"])
    np.testing.assert_allclose(*scores, rtol=1e-4)


@pytest.mark.parametrize("name", ["anogan", "gpnd", "ocgan"])
@pytest.mark.parametrize(("n", "value"), [(4, 2), (2, 253), (2, 255)])
def test_constant_images_and_two_of_them(name, n, value):
    model = RIVALS[name]((16, 16, 1), base_width=2, latent_dim=3)
    images = np.full((n, 16, 16, 1), value, np.uint8)
    history = model.fit(images, epochs=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    networks = [network for turn in model.turns for network in turn.networks]
    assert all(np.isfinite(w).all() for network in networks for w in network.get_weights())
    model.set_threshold(0)
    for other in (images, np.maximum(255 - images, 2)):  # 0 alone would be warned of
        assert np.isfinite(model.predict(other, verbose=0)["score"]).all()


RESUMED = ["vae", "deep_svdd", "ganomaly", "anogan", "gpnd", "ocgan", "dagpr", "piad"]


@pytest.mark.parametrize("name", RESUMED)
def test_training_goes_on_where_it_stopped(name, split, tmp_path):
    """The history has every epoch once."""
    arguments = {"base_width": 4, "min_steps": 2, "checkpoint_dir": tmp_path, "verbose": 0}
    arguments |= backbone_of(name)
    model, _ = ede_keras.fit_rival(name, split.x_train, epochs=2, **arguments)
    steps = int(model.optimizer.iterations.numpy()) // 2
    model, history = ede_keras.fit_rival(name, split.x_train, epochs=4, **arguments)
    for i, optimizer in enumerate((model.optimizer, *getattr(model, "other_optimizers", ()))):
        updates = model.turns[i].updates if i else 1
        assert int(optimizer.iterations.numpy()) == 4 * steps * updates
    assert history.epoch[-1] == 3
    rows = (tmp_path / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3", "4"]
    with pytest.raises(InputError, match="other arguments: latent_dim"):
        ede_keras.fit_rival(name, split.x_train, epochs=4, latent_dim=3, **arguments)


def test_what_is_refused(split):
    with pytest.raises(InputError, match="`method` must be one of vae"):
        resolve_rival("gan")
    with pytest.raises(InputError, match="VAE has no argument `pretext`"):
        resolve_rival("vae", pretext="none")
    with pytest.raises(InputError, match="PrincipalComponents has no argument `epochs`"):
        resolve_rival("pca", epochs=3)
    with pytest.raises(InputError, match="`x_train` must be a NumPy array"):
        ede_keras.fit_rival("pca", [1])
    with pytest.raises(InputError, match="at least 2 normal images"):
        ede_keras.fit_rival("pca", split.x_train[:1])
    with pytest.raises(InputError, match="`epochs` must be at least 1"):
        resolve_rival("vae", epochs=0)
    with pytest.raises(InputError, match="`learning_rate` must be above 0"):
        resolve_rival("vae", learning_rate=-1.0)
    with pytest.raises(InputError, match="`latent_dim` must be positive"):
        RIVALS["vae"]((16, 16, 1), latent_dim=0)
    with pytest.raises(InputError, match="has no loss of held-out images"):
        RIVALS["pca"]((16, 16, 1)).fit(split.x_train, validation_data=split.x_val)
    with pytest.raises(InputError, match="must be a multiple of 8"):
        RIVALS["vae"]((16, 16, 1), image_size=20)
    assert RIVALS["pca"]((16, 16, 1), image_size=20).image_size == 20  # it has no networks
    with pytest.raises(InputError, match=r"must have 1 \(grey\) or 3 \(RGB\) channels"):
        RIVALS["pca"]((16, 16, 2))
    model = RIVALS["vae"](split.x_train.shape[1:])
    for call in (
        lambda: model.fit(split.x_train, validation_data=split.x_val),
        lambda: model.evaluate(split.x_val),
    ):
        with pytest.raises(InputError, match="has no loss of held-out images"):
            call()
    with pytest.raises(InputError, match="omega1 has no effect"):
        model.redecide({}, omega1=0.3)


@pytest.mark.slow
def test_the_commands(run_command, tmp_path):
    flags = ("train.py", "--dataset=digits", "--normal=6", f"--output_dir={tmp_path}")
    done = run_command(*flags, "--method=vae", "--recipe=paper", check=False)
    assert done.returncode == 1 and "--recipe has no effect with --method=vae" in done.stderr
    done = run_command(*flags, "--method=pca", "--pretext=none", check=False)
    assert done.returncode == 1 and "has no argument --pretext" in done.stderr
    short = ("--epochs=2", "--base_width=4", "--min_steps=2")
    run_command(*flags, "--method=vae", *short, "--run_name=vae")
    run_command(*flags, "--method=pca", "--run_name=pca")
    run = tmp_path / "digits/6/vae"
    config = json.loads((run / "config.json").read_text())
    assert config["method"] == config["recipe"] == "vae" and config["variant"] is None
    assert config["epochs"] == 2 and config["latent_dim"] == 32 and "name" not in config
    done = run_command("evaluate.py", f"--run_dir={run}", "--report", "--contamination=0.2")
    assert "images are anomalous" in done.stdout and (run / "evaluation.html").exists()
    done = run_command("evaluate.py", f"--run_dir={run}", "--omega1=0.3", check=False)
    assert done.returncode == 1 and "omega1 has no effect" in done.stderr
    done = run_command("-m", "ede_keras.cli.compare", str(tmp_path))
    assert {"vae", "pca"} <= {line.split()[1] for line in done.stdout.splitlines() if line}
    out = tmp_path / "exported"
    run_command("-m", "ede_keras.export", f"--run_dir={run}", f"--output_dir={out}")
    assert "| method | vae |" in next(out.rglob("MODEL.md")).read_text()


@pytest.mark.slow
def test_the_commands_with_a_backbone(run_command, tmp_path):
    """The config and the card of a model name it."""
    path = tmp_path / "net.keras"
    make_backbone().save(path)
    flags = ("train.py", "--dataset=digits", "--normal=6", f"--output_dir={tmp_path}")
    flags += (f"--backbone={path}", "--epochs=1", "--base_width=4", "--min_steps=2")
    done = run_command(*flags, "--method=vae", check=False)
    assert done.returncode == 1 and "has no argument --backbone" in done.stderr
    run_command(*flags, "--method=addpa")
    run = tmp_path / "digits/6/0"
    config = json.loads((run / "config.json").read_text())
    assert config["backbone"] == "net.keras" and config["backbone_size"] == 64
    assert config["backbone_sha256"] == hash_file(path)
    path.unlink()
    out = tmp_path / "exported"
    run_command("-m", "ede_keras.export", f"--run_dir={run}", f"--output_dir={out}")
    card = next(out.rglob("MODEL.md")).read_text()
    assert "| backbone | net.keras" in card and "sees images at 64 x 64 pixels" in card
