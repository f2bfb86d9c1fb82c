"""The model as a scorer: its outputs, its threshold, its options."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import slow

import ede_keras
from ede_keras.errors import InputError
from ede_keras.models import losses, recipes
from ede_keras.models.variants import VARIANTS


def test_predict_gives_score_label_and_map(build, images):
    model = build(image_shape=(8, 12, 3))
    model.set_threshold(0.3)
    colour = np.random.default_rng(0).integers(0, 256, (5, 8, 12, 3), dtype=np.uint8)
    out = model.predict(colour, verbose=0)
    assert model.input_shape == (None, 8, 12, 3)
    assert {name: (value.shape, value.dtype) for name, value in out.items()} == {
        "score": ((5,), np.float32),
        "label": ((5,), np.int32),
        "anomaly_map": ((5, 8, 12), np.float32),
    }
    assert (out["label"] == (out["score"] > 0.3)).all()
    assert (out["anomaly_map"] >= 0).all() and (out["anomaly_map"] <= 2).all()


def passes(model, images):
    """Algorithm 2, network by network."""
    x = model.preprocessor(images)
    z = model.encoder1(x, training=False)
    x1 = model.decoder1(z, training=False)
    x2 = model.decoder2(z, training=False) if "decoder2" in model.network_names else x1
    found = {"x": x, "z": z, "x1": x1, "x2": x2}
    if "encoder2" in model.network_names:
        z1, z2 = (model.encoder2(x_i, training=False) for x_i in (x1, x2))
        x2p = model.decoder1(z2, training=False)
        z2p = model.encoder2(x2p, training=False)
        found.update(z1=z1, z2=z2, x2p=x2p, z2p=z2p)
    return {name: np.asarray(value, "float64") for name, value in found.items()}


def mean_difference(a, b):
    return np.abs(a - b).reshape(len(a), -1).mean(axis=1)


def test_score_is_equation_8_in_both_readings(build, images):
    for score, (a, b) in {"latent": ("z", "z2"), "image": ("x", "x2p")}.items():
        model = build(score=score, omega1=0.3)
        p = passes(model, images)
        first, second = mean_difference(p[a], p[b]), mean_difference(p["z"], p["z2p"])
        model.set_threshold(0)
        got = model.predict(images, verbose=0)["score"]
        np.testing.assert_allclose(got, 0.3 * first + 0.7 * second, rtol=1e-4)


@pytest.mark.parametrize(
    ("variant", "a", "b"), [("autoencoder", "x", "x1"), ("single_ede", "z", "z1")]
)
def test_scores_of_the_smaller_variants(build, images, variant, a, b):
    model = build(VARIANTS[variant])
    model.set_threshold(0)
    p = passes(model, images)
    out = model.predict(images, verbose=0)
    np.testing.assert_allclose(out["score"], mean_difference(p[a], p[b]), rtol=1e-4)


def test_map_is_the_residual_of_the_reconstruction(build):
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), dtype=np.uint8)
    model = build(image_shape=(16, 16, 1))
    model.set_threshold(0)
    p = passes(model, images)
    expected = np.abs(p["x"] - p["x2"])[..., 0]
    got = model.predict(images, verbose=0)["anomaly_map"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variants_objective_is_its_own(build, images, variant):
    model = build(VARIANTS[variant], image_weight=3.0, latent_weight=2.0, schedule="inverse_epoch")
    model.set_epoch(4)
    p = passes(model, images)

    def mean(x_i, z_i=None):
        image = 3 * mean_difference(p["x"], p[x_i]).mean()
        return image + 2 * mean_difference(p["z"], p[z_i]).mean() if z_i else image

    if variant == "full":
        adv = mean("x2p", "z2p")
        expected = [
            mean("x1", "z1") / 4 - 3 / 4 * adv,
            mean("x2", "z2") / 4 + 3 / 4 * adv,
        ]
    elif variant == "twin_ede":
        expected = [mean("x1", "z1"), mean("x2", "z2")]
    else:
        expected = [mean("x1", "z1" if variant == "single_ede" else None)]
    logs = model.evaluate(images, batch_size=len(images), verbose=0, return_dict=True)
    found = [logs[f"ede{i + 1}_loss"] for i in range(len(expected))]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("pretext", [slow("none"), "rotations"])
def test_a_score_does_not_depend_on_its_neighbours(build, images, pretext):
    """Nor does that of an image whose codes are remembered, at no distance to themselves."""
    model = build(pretext=pretext, memory_size=60)
    model.fit(images, batch_size=35, epochs=2, verbose=0)
    model.calibrate(images[:50], held_out=images[50:])
    together = model.predict(images, batch_size=70, verbose=0)["score"]
    reversed_order = model.predict(images[::-1], batch_size=7, verbose=0)["score"][::-1]
    alone = model.predict(images[:1], verbose=0)["score"]
    # Scores of several terms are differences to a mean: they may be near 0.
    tolerance = {"rtol": 1e-5, "atol": 1e-5 * np.abs(together).max()}
    np.testing.assert_allclose(reversed_order, together, **tolerance)
    np.testing.assert_allclose(alone, together[:1], **tolerance)
    as_if_training = np.asarray(model(images, training=True)["score"])
    np.testing.assert_allclose(as_if_training, together, **tolerance)


def test_numeric_types_score_alike(build, images):
    model = build()
    model.set_threshold(0)
    scores = [
        model.predict(images.astype(dtype), verbose=0)["score"]
        for dtype in ("uint8", "int32", "float32", "float64")
    ]
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], rtol=1e-5)
    from_dataset = model.predict(tf.data.Dataset.from_tensor_slices(images).batch(9), verbose=0)
    np.testing.assert_allclose(from_dataset["score"], scores[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("norm", "l3"),
        ("schedule", "constant"),
        ("update", "both"),
        ("phase2_updates", "none"),
        ("score", "pixels"),
        ("omega1", 1.5),
        ("phase_floor", -0.1),
        ("contamination", 1.0),
        ("image_shape", (8, 8)),
        ("image_size", 20),
        ("latent_dim", 0),
        ("image_weight", -1.0),
        ("latent_weight", float("nan")),
        ("pretext_weight", float("inf")),
        ("pretext_views", 0),
        ("memory_size", 0),
    ],
)
def test_wrong_arguments_are_refused(build, argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be.*Received: {argument}="):
        build(**{argument: value})


def test_omegas_sum_to_1(build):
    assert build(omega1=0.3).omega2 == pytest.approx(0.7)


def test_default_network_sizes(build):
    assert build(image_shape=(8, 8, 1)).image_size == 16
    assert build(image_shape=(28, 28, 1)).image_size == 32
    widths = [build(image_shape=(8, 8, c), base_width=None).base_width for c in (1, 3)]
    assert widths == [16, 32]
    assert build(image_shape=(28, 28, 1), image_size=64).encoder1.input_shape == (None, 64, 64, 1)


def test_norm_reaches_losses_and_score(build, images):
    model = build(norm="l2", image_weight=1.0, latent_weight=0.0, omega1=1.0)
    p = passes(model, images)
    squared = ((p["z"] - p["z2"]) ** 2).mean(axis=1)
    np.testing.assert_allclose(model.compute_terms(images)["z_z2"], squared, rtol=1e-4)
    loss = model.objectives(model.preprocessor(images), training=False).reconstructions[0]
    np.testing.assert_allclose(loss, ((p["x"] - p["x1"]) ** 2).mean(), rtol=1e-4)


def test_paper_recipe_is_the_literal_algorithm():
    model_arguments, training = recipes.get_recipe("paper", (28, 28, 1))
    found = model_arguments.to_dict()
    # Those that have no effect without a pretext, or with the schedule as printed.
    for name in ("pretext_weight", "pretext_views", "memory_size", "phase_floor", "phase2_margin"):
        del found[name]
    assert found == {
        "backbone": None,
        "pretext": "none",
        "mirror": False,
        "contamination": 0.05,
        "image_size": 32,
        "latent_dim": 100,
        "base_width": 32,
        "norm": "l1",
        "image_weight": 50.0,
        "latent_weight": 1.0,
        "omega1": 0.5,
        "scale_terms": False,
        "update": "joint",
        "schedule": "inverse_epoch",
        "phase2_form": "printed",
        "phase2_updates": "all",
        "components": 0,
        "lighting": 0.0,
        "fixed_latent_target": False,
        "score": "latent",
    }
    assert training.to_dict() == {
        "learning_rate": 2e-4,
        "precision": "float32",
        "beta_1": 0.5,
        "cosine_decay": False,
        "batch_size": 64,
        "epochs": 15,
        "min_steps": 1,
    }


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_what_a_recipe_does_otherwise_with_colour_images(name):
    grey, colour = (recipes.get_recipe(name, (8, 8, channels)) for channels in (1, 3))
    different = {
        key
        for one, other in zip(grey, colour, strict=True)
        for key, value in one.to_dict().items()
        if value != other.to_dict()[key]
    }
    expected = {
        "paper": {"pretext_views"},  # of no effect
        "default_no_pretext": {"base_width", "mirror", "pretext_views"},
        "features": {"pretext"},  # of small images
        "default": {"base_width", "mirror", "pretext_views", "pretext"}
        | {"batch_size", "cosine_decay"},
    }
    assert different == expected[name]
    # An override has the last word.
    model_arguments, training = recipes.get_recipe(name, (8, 8, 3), mirror=False, epochs=2)
    assert training.epochs == 2 and not model_arguments.mirror


def test_the_models_own_defaults_are_those_of_the_default_recipe():
    for shape in ((8, 8, 1), (28, 28, 3)):
        model = ede_keras.EDE(shape)
        recipe = ede_keras.EDE.from_recipe("default", shape)
        assert {**model.get_config(), "name": ""} == {**recipe.get_config(), "name": ""}
        model.compile()
        assert float(model.optimizer.learning_rate) == float(recipe.optimizer.learning_rate)
        assert model.optimizer.beta_1 == recipe.optimizer.beta_1


def test_from_recipe_builds_and_compiles():
    model = ede_keras.EDE.from_recipe("paper", (8, 8, 1), latent_dim=7, learning_rate=0.01)
    assert model.latent_dim == 7 and model.update == "joint"
    for optimizer in (model.optimizer, model.ede2_optimizer):
        assert isinstance(optimizer, keras.optimizers.Adam) and optimizer.beta_1 == 0.5
        assert float(optimizer.learning_rate) == pytest.approx(0.01)


def test_unknown_recipe():
    with pytest.raises(
        InputError, match="one of paper, default_no_pretext, features, default. Received: 'best'"
    ):
        ede_keras.EDE.from_recipe("best", (8, 8, 1))


def test_losses_live_between_minus_1_and_1(build):
    white = np.full((2, 8, 8, 1), 255, np.uint8)
    black = np.zeros((2, 8, 8, 1), np.uint8)
    preprocess = build().preprocessor
    np.testing.assert_allclose(losses.distance(preprocess(white), preprocess(black)), 2, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("image_shape", [(8, 8, 1), (70, 40, 3)])
def test_everything_compiles_under_xla(build, image_shape):
    """With a growing, a shrinking and a pooling way in, and their maps' way out."""
    images = np.random.default_rng(0).integers(0, 256, (6, *image_shape), dtype=np.uint8)
    model = build(image_shape=image_shape, compile_arguments={"jit_compile": True})
    assert model.jit_compile
    model.fit(images, verbose=0)
    model.evaluate(images, verbose=0)
    model.calibrate(images)
    out = model.predict(images, verbose=0)
    model.compile(jit_compile=False)
    plain = model.predict(images, verbose=0)
    for name in ("score", "anomaly_map"):
        np.testing.assert_allclose(out[name], plain[name], rtol=1e-3, atol=1e-4)


def test_what_a_recipe_cannot_set_on_a_model():
    with pytest.raises(InputError, match="epochs must be given to `fit_recipe` or `fit`"):
        ede_keras.EDE.from_recipe("default", (8, 8, 1), epochs=3)
