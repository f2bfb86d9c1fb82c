"""Networks of one's own in place of Figure 3's, and what is refused."""

import keras
import numpy as np
import pytest

import ede_keras
from ede_keras.errors import InputError
from ede_keras.models.variants import VARIANTS


def make_dense(output_shape, **kwargs):
    """A network of one dense layer, not built yet."""
    return keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(int(np.prod(output_shape)), "tanh"),
            keras.layers.Reshape(output_shape),
        ],
        **kwargs,
    )


def encoder():
    return make_dense((4,))


def decoder():
    return make_dense((16, 16, 1))


def test_own_networks_train_score_and_are_saved(build, images, tmp_path):
    own = {"encoder1": encoder(), "encoder2": encoder(), "decoder1": decoder()}
    model = build(**own, decoder2=lambda *sizes, name: decoder())
    before = {name: network.get_weights()[0].copy() for name, network in own.items()}
    model.fit(images, batch_size=35, epochs=2, verbose=0)
    for name, network in own.items():
        assert getattr(model, name) is network
        assert (network.get_weights()[0] != before[name]).any()
    x = model.preprocessor(images)
    np.testing.assert_allclose(model.encode(images), own["encoder1"](x), atol=1e-5)
    model.calibrate(images)
    scores = model.predict(images, verbose=0)["score"]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0)["score"], scores)
    again = model.redecide(model.calibrate(images), contamination=0.3)
    np.testing.assert_allclose(again.predict(images, verbose=0)["score"], scores, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_own_network_in_every_variant(build, images, variant):
    own = encoder()
    model = build(VARIANTS[variant], encoder1=own)
    before = own.get_weights()[0].copy()
    model.fit(images, verbose=0)
    assert (own.get_weights()[0] != before).any()


def test_networks_with_equal_names_of_weights_keep_their_own_gradients(build, images):
    """Optimizers and gradients go by the weights themselves, not by their paths."""
    own = {f"encoder{i}": make_dense((4,), name=f"e{i}") for i in (1, 2)}
    for network in own.values():
        network.layers[1].name = "same"
    model = build(**own)
    before = [network.get_weights()[0].copy() for network in own.values()]
    model.fit(images, verbose=0)
    for network, weights in zip(own.values(), before, strict=True):
        assert (network.get_weights()[0] != weights).any()


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"encoder1": make_dense((5,))}, r"`encoder1` must map.*\(None, 4\).*\(None, 5\)"),
        ({"decoder2": make_dense((16, 16, 3))}, r"`decoder2` must map.*\(None, 16, 16, 3\)"),
        ({"encoder2": keras.layers.Dense(4)}, r"`encoder2` must map.*\(None, 16, 16, 4\)"),
        ({"encoder1": "big"}, "`encoder1` must be a Keras layer.*'big'"),
        ({"encoder1": lambda *sizes, name: None}, "`encoder1` must be a Keras layer.*None"),
    ],
)
def test_what_does_not_fit_is_refused(build, own, message):
    with pytest.raises(InputError, match=message):
        build(**own)


def test_one_network_for_two_is_refused(build):
    shared = encoder()
    with pytest.raises(InputError, match="a layer of its own"):
        build(encoder1=shared, encoder2=shared)


def test_a_recipe_with_an_own_network():
    own = make_dense((16,))
    model = ede_keras.EDE.from_recipe("default_no_pretext", (8, 8, 1), encoder1=own)
    assert model.encoder1 is own


def test_a_network_that_the_variant_lacks(build):
    with pytest.raises(
        InputError, match="This variant has only encoder1, decoder1. Received: decoder2"
    ):
        build(ede_keras.AutoEncoder, decoder2=decoder())


def test_the_geometric_pretext_needs_features(build):
    with pytest.raises(InputError, match='layer named "features".*pretext="none"'):
        build(encoder1=encoder(), pretext="rotations")
