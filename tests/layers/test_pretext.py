"""The contract of a pretext, and one of our own that uses all of it."""

import keras
import numpy as np
import pytest
from keras import ops

import ede_keras
from ede_keras.errors import InputError


@keras.saving.register_keras_serializable(package="test_pretext")
class Brightness(ede_keras.Pretext):
    """E1 sees dark and bright copies; one term is the distance to the mean normal z."""

    uses_features = True
    term_weights = {"to_mean": 2.0}  # noqa: RUF012
    equation8_weight = 0.5

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.head = keras.layers.Dense(1)

    def build(self, z_shape, features_shape):
        self.head.build((None, features_shape[-1]))
        self.mean = self.add_weight((z_shape[-1],), "zeros", trainable=False, name="mean")

    def views(self, x, step):
        return ede_keras.TrainingViews(x * 0.5, x, None)

    def loss(self, features, target):
        n = ops.shape(features)[0] // 2
        guess = self.head(ops.mean(features, axis=(1, 2)))[:, 0]
        return ops.mean(ops.square(guess - ops.repeat([0.5, 1.0], n)))

    def score_views(self, x):
        return x

    def terms(self, z, features):
        return {"to_mean": ops.mean(ops.abs(z - self.mean), axis=-1)}, {"z": z}

    def adapt(self, codes):
        self.mean.assign(codes["z"].mean(axis=0))

    def reliability(self, terms):
        return {"to_mean": 0.25}


def test_its_loss_its_term_and_what_it_adapts_to(build, images, tmp_path):
    model = build(pretext=Brightness(), omega1=0.3, pretext_weight=2.0)
    assert dict(model.score_weights) == {"z_z2": 0.15, "z_z2p": 0.35, "to_mean": 2.0}
    x = model.preprocessor(images)
    own = float(model.pretext_weight * model.encode_views(x, training=False)[1])
    assert own > 0
    before = model.pretext.head.get_weights()[0]
    model.fit(images, batch_size=35, epochs=2, verbose=0)
    assert (model.pretext.head.get_weights()[0] != before).any()
    held_out = model.calibrate(images[:50], held_out=images[50:])
    z = model.encode(images)
    np.testing.assert_allclose(model.pretext.mean, z[:50].mean(axis=0), rtol=1e-4, atol=1e-6)
    terms = model.compute_terms(images)
    expected = np.abs(z - z[:50].mean(axis=0)).mean(axis=1)
    np.testing.assert_allclose(terms["to_mean"], expected, rtol=1e-3, atol=1e-5)
    score = sum(
        weight * (terms[name] - held_out[name].mean()) / held_out[name].std()
        for name, weight in {"z_z2": 0.15, "z_z2p": 0.35, "to_mean": 2 * 0.25}.items()
    )
    found = model.predict(images, verbose=0)["score"]
    np.testing.assert_allclose(found, score, rtol=1e-2, atol=1e-2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0)["score"], found)


@keras.saving.register_keras_serializable(package="test_pretext")
class NamesBrightness(Brightness):
    """The loss and its head alone, without a term of the score."""

    term_weights = {}  # noqa: RUF012


def test_a_loss_without_a_term_trains_its_head(build, images, tmp_path):
    model = build(pretext=NamesBrightness())
    before = model.pretext.head.get_weights()[0]
    model.fit(images, batch_size=35, epochs=2, verbose=0)
    after = model.pretext.head.get_weights()[0]
    assert (after != before).any() and list(model.compute_terms(images)) == ["z_z2", "z_z2p"]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.pretext.head.get_weights()[0], after)


def test_two_models_of_one_instance_share_nothing(build, images):
    pretext = Brightness()
    first, second = (build(pretext=pretext) for _ in range(2))
    scores = first.calibrate(images)["to_mean"]
    second.fit(images, verbose=0)
    second.calibrate(images)
    np.testing.assert_array_equal(first.calibrate(images)["to_mean"], scores)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "must define views"),
        (
            {"views": lambda self, x, step: None, "term_weights": {"a": 1.0}},
            "must define score_views",
        ),
    ],
)
def test_what_a_pretext_must_define(build, images, members, message):
    pretext = type("Empty", (ede_keras.Pretext,), members)()
    with pytest.raises(NotImplementedError, match=message):
        build(pretext=pretext).fit(images, verbose=0)


def test_a_term_may_not_take_the_name_of_another(build):
    members = {"term_weights": {"z_z2": 1.0}}
    with pytest.raises(InputError, match="terms must not be called .*Received: z_z2"):
        build(pretext=type("Taken", (ede_keras.Pretext,), members)())


def test_a_pretext_is_a_name_or_an_instance():
    for wrong in (Brightness, 3, "somersaults"):
        with pytest.raises(InputError, match="`pretext` must be"):
            ede_keras.EDE((8, 8, 1), pretext=wrong)
