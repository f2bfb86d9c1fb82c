"""EDEs on the features of a frozen network."""

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from makers import make_backbone

import ede_keras
from ede_keras.backbones.backbone import Backbone, choose_maps
from ede_keras.errors import InputError
from ede_keras.layers import networks
from ede_keras.layers.geometric_pretext import GeometricPretext
from ede_keras.models import feature_store
from ede_keras.models.arguments import EDEArguments
from ede_keras.models.variants import VARIANTS


@pytest.fixture
def backbone():
    return Backbone(choose_maps(make_backbone()), mean=127.0, scale=128.0)


@pytest.fixture
def pictures():
    """24 smooth images, uint8, 40x48x3."""
    coarse = np.random.default_rng(0).integers(60, 200, (24, 5, 6, 3))
    return np.asarray(tf.image.resize(coarse, (40, 48))).astype("uint8")


@pytest.fixture
def make(backbone):
    def make(variant=ede_keras.EDE, **arguments):
        given = {"image_shape": (40, 48, 3), "image_size": 64, "base_width": 2, "latent_dim": 4}
        model = variant(**{**given, "backbone": backbone, "memory_size": 20, **arguments})
        model.compile(run_eagerly=True)  # tracing takes longer than the few steps of a test
        return model

    return make


def fit(model, pictures):
    model.fit(pictures[:16], batch_size=8, epochs=2, verbose=0)
    model.calibrate(pictures[:16], held_out=pictures[16:])
    return model


@pytest.mark.parametrize("variant", VARIANTS)
def test_train_score_save(make, pictures, variant, tmp_path):
    model = make(VARIANTS[variant])
    frozen = [w.numpy().copy() for w in model.backbone.weights]
    before = [w.numpy().copy() for w in model.encoder1.weights]
    fit(model, pictures)
    for one, other in zip(frozen, model.backbone.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(
        (one != other).any() for one, other in zip(before, model.encoder1.weights, strict=True)
    )
    found = model.predict(pictures, verbose=0)
    assert found["anomaly_map"].shape == (24, 40, 48) and np.ptp(found["anomaly_map"]) > 0
    assert np.isfinite(found["score"]).all() and np.ptp(found["score"]) > 0
    terms = model.compute_terms(pictures)
    assert set(terms) == set(model.score_weights) and {"nearest_vector", "nearest_place"} < set(
        terms
    )
    # The held-out images set the scale: each term has mean 0 and deviation 1 among them.
    scaled = [
        weight * (terms[k] - terms[k][16:].mean()) / terms[k][16:].std()
        for k, weight in model.score_weights.items()
    ]
    np.testing.assert_allclose(found["score"], sum(scaled), rtol=1e-3, atol=1e-3)
    # All images of the training part are in the memory.
    np.testing.assert_allclose(terms["nearest_vector"][:16], 0, atol=1e-4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for name, values in loaded.predict(pictures, verbose=0).items():
        np.testing.assert_array_equal(values, found[name])
    assert loaded.backbone.source == model.backbone.source
    again = loaded.redecide({k: v[16:] for k, v in terms.items()}, contamination=0.5)
    np.testing.assert_allclose(
        again.predict(pictures, verbose=0)["score"], found["score"], rtol=1e-4
    )


def test_equation_8_on_vector_and_places(make, pictures):
    """x_x2p by arithmetic on what the networks give."""
    model = fit(make(), pictures)
    x = model.prepare(pictures)
    z = model.encoder1(x)
    z2 = model.encoder2(model.decoder2(z))
    x2p = model.decoder1(z2)
    width = model.space.features.vector
    squared = np.square(np.asarray(x) - np.asarray(x2p))
    terms = model.compute_terms(pictures)
    np.testing.assert_allclose(terms["x_x2p_vector"], squared[:, :width].mean(1), rtol=1e-3)
    by_place = squared[:, width:].reshape(24, 16, -1).mean(-1)
    np.testing.assert_allclose(terms["x_x2p_places"], by_place.max(1), rtol=1e-3)
    z, z2p = np.asarray(z), np.asarray(model.encoder2(x2p))
    np.testing.assert_allclose(terms["z_z2p"], np.square(z - z2p).mean(1), rtol=1e-3)


def test_features_in_place_of_images(make, pictures):
    model = fit(make(), pictures)
    features = model.extract_features(pictures)
    assert features.shape == (24, model.space.features.length) and features.dtype == np.float32
    expected = model.compute_terms(pictures)
    found = model.compute_terms(features)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
    other = make()
    other.fit(features[:16], batch_size=8, verbose=0)
    other.calibrate(features[:16], held_out=features[16:])
    assert np.isfinite(other.threshold)
    with pytest.raises(InputError, match=r"features of shape \(n, "):
        model.compute_terms(features[:, 1:])


def test_features_are_computed_once(make, pictures, monkeypatch):
    model, seen = make(), []
    extract = model._extract
    monkeypatch.setattr(model, "_extract", lambda x, v=0: seen.append(len(x)) or extract(x, v))
    train, held_out = pictures[:16], pictures[16:]
    model.fit(train, batch_size=8, epochs=3, validation_data=held_out, verbose=0)
    model.calibrate(train, held_out=held_out)
    assert seen == [16, 8]
    # Too many to keep are computed for each batch anew, with the same result.
    kept = model.compute_terms(model.extract_features(train))
    monkeypatch.setattr(feature_store, "MAX_BYTES", 10)
    other = pictures[:16].copy()
    assert model.extract_features(other) is other
    for name, values in model.compute_terms(other).items():
        np.testing.assert_allclose(values, kept[name], rtol=1e-4, atol=1e-5)
    model.fit(other, batch_size=8, verbose=0)


def test_a_data_set_of_images(make, pictures):
    dataset = tf.data.Dataset.from_tensor_slices(pictures).batch(8)
    model = make()
    model.fit(dataset, verbose=0)
    model.calibrate(dataset.take(2), held_out=pictures[16:])
    again = fit(make(), pictures)
    terms, other = (m.compute_terms(pictures)["nearest_vector"] for m in (model, again))
    assert np.isfinite(terms).all() and terms.shape == other.shape


@pytest.mark.parametrize("shape", [(40, 48, 1), (5, 7, 3), (200, 90, 1)])
def test_grey_tiny_and_large_images(make, shape):
    pictures = np.random.default_rng(0).integers(0, 256, (10, *shape), dtype=np.uint8)
    model = make(image_shape=shape)
    model.fit(pictures[:8], verbose=0)
    model.calibrate(pictures[:8], held_out=pictures[8:])
    assert model.predict(pictures, verbose=0)["anomaly_map"].shape == (10, *shape[:2])


def test_grey_images_are_three_equal_channels(make, pictures):
    grey = pictures[..., :1]
    colour = np.repeat(grey, 3, axis=-1)
    shape = (40, 48, 1)
    grey_model = make(image_shape=shape, pretext="none")
    rows = [m.extract_features(x) for m, x in ((grey_model, grey), (make(), colour))]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((8, 8, 1), 128),
        ((64, 64, 3), 128),
        ((65, 30, 3), 224),
        ((319, 900, 3), 224),
        ((320, 320, 1), 320),
        ((447, 900, 3), 320),
        ((448, 448, 3), 448),
        ((640, 2000, 3), 448),
    ],
)
def test_the_size_follows_the_images(shape, size):
    assert EDEArguments.resolve(shape, backbone="efficientnet_lite0").image_size == size


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"image_size": 72}, "multiple of 32"),
        ({"image_size": 32}, "at least 64"),
        (
            {"pretext": GeometricPretext("rotations", (32, 32, 3))},
            "`pretext` must be a name, .*use recipe default",
        ),
        ({"mirror": True}, "`mirror` has no effect with a backbone.*use recipe default"),
        ({"backbone": 3}, "`backbone` must be a string"),
        ({"encoder1": keras.layers.Dense(3)}, "must map"),
    ],
)
def test_what_is_refused(make, arguments, said):
    with pytest.raises(InputError, match=said):
        make(**arguments)


def test_what_cannot_be_done_with_features(make, pictures):
    model = make()
    with pytest.raises(InputError, match="cannot be reconstructed"):
        model.reconstruct(pictures)
    model.fit(pictures, verbose=0)
    with pytest.raises(InputError, match="at least 2 normal images"):
        model.calibrate(pictures[:1], held_out=pictures)
    with pytest.raises(InputError, match="at least 2 normal images"):
        ede_keras.fit_recipe("features", pictures[:1])


@keras.saving.register_keras_serializable(package="tests")
class Noise(ede_keras.Pretext):
    def views(self, x, step):
        noise = tf.random.stateless_normal(tf.shape(x), seed=[0, step])
        return ede_keras.TrainingViews(x + 0.1 * noise)


def test_a_pretext_without_terms(make, pictures):
    """Noise on features, as SimpleNet has it, is a pretext of a few lines."""
    model = fit(make(pretext=Noise()), pictures)
    assert set(model.score_weights) == set(make().score_weights)


@pytest.mark.parametrize("variant", ["full", "autoencoder"])
def test_a_pretext_sees_the_image_itself(make, pictures, variant, tmp_path):
    """The features are followed by the image, at 32 x 32, which the networks never see."""
    model = make(VARIANTS[variant], pretext="rotations")
    pixels = 32 * 32 * 3
    features = model.extract_features(pictures)
    assert features.shape[1] == model.space.features.length + pixels
    image = np.asarray(networks.build_preprocessor((40, 48, 3), 32)(pictures))
    np.testing.assert_allclose(features[:, -pixels:], image.reshape(24, -1), atol=1e-6)
    before = [w.numpy().copy() for w in model.pretext.trainable_weights]
    fit(model, pictures)
    for one, other in zip(before, model.pretext.trainable_weights, strict=True):
        assert (one != other.numpy()).any()  # also the convolutions'

    terms = model.compute_terms(pictures)
    turned = np.stack([[np.rot90(picture, k) for k in range(4)] for picture in image])
    seen = model.pretext.encoder(turned.reshape(96, 32, 32, 3), training=False)
    kernel, bias = model.pretext.head.get_weights()
    logits = np.asarray(seen).reshape(96, -1) @ kernel + bias
    log_p = scipy.special.log_softmax(logits, axis=1).reshape(24, 4, 4)
    expected = -np.mean([log_p[:, k, k] for k in range(4)], axis=0)
    np.testing.assert_allclose(terms["pretext"], expected, rtol=1e-3, atol=1e-4)
    assert (terms["feature_distance"][:16] < 1e-3).all()  # they are in its memory
    # The other terms are those of a model without a pretext.
    alone = make(VARIANTS[variant], pretext="none")
    alone.space.scaling.set_weights(model.space.scaling.get_weights())
    for name in model.network_names:
        getattr(alone, name).set_weights(getattr(model, name).get_weights())
    alone.calibrate(pictures[:16], held_out=pictures[16:])
    for name, values in alone.compute_terms(pictures).items():
        np.testing.assert_allclose(values, terms[name], rtol=1e-4, atol=1e-5)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for name, values in model.predict(pictures, verbose=0).items():
        np.testing.assert_array_equal(loaded.predict(pictures, verbose=0)[name], values)


@pytest.mark.parametrize(
    ("shape", "pretext"),
    [
        ((28, 28, 1), "rotations_and_shifts"),
        ((65, 65, 1), "none"),
        ((32, 32, 3), "none"),
    ],
)
def test_small_grey_images_have_a_pretext(shape, pretext):
    assert EDEArguments.resolve(shape, backbone="efficientnet_lite0").pretext == pretext


def test_recipe_features_resumes_with_the_same_bits(backbone, pictures, tmp_path):
    arguments = {"image_size": 64, "base_width": 2, "min_steps": 3, "cosine_decay": False}
    arguments |= {"backbone": backbone, "verbose": 0}
    whole, _ = ede_keras.fit_recipe("features", pictures, epochs=2, **arguments)
    for epochs in (1, 2):
        parts, _ = ede_keras.fit_recipe(
            "features", pictures, epochs=epochs, checkpoint_dir=tmp_path, **arguments
        )
    assert len(whole.weights) == len(parts.weights)
    for one, other in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_tiles_and_whole_images_share_a_backbone(make, pictures, tmp_path):
    detector, whole = make(image_shape=(32, 32, 3)), make(image_shape=(40, 48, 3))
    model = ede_keras.TiledDetector(detector, image_shape=(40, 48, 3), stride=16, whole=whole)
    model.fit(pictures[:16], batch_size=8, verbose=0)
    model.calibrate(pictures[:16], held_out=pictures[16:])
    found = model.predict(pictures, verbose=0)
    assert found["anomaly_map"].shape == (24, 40, 48)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for name, values in loaded.predict(pictures, verbose=0).items():
        np.testing.assert_array_equal(values, found[name])
    with pytest.raises(InputError, match="cannot be reconstructed"):
        model.reconstruct(pictures)
    alone = ede_keras.TiledDetector(detector, image_shape=(40, 48, 3), stride=16)
    assert ede_keras.TiledDetector.from_config(alone.get_config()).whole is None


def test_the_export_scores_as_the_model(make, pictures, export_unchecked, tmp_path):
    model = fit(make(), pictures)
    folder = export_unchecked(model, tmp_path)
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    found = signature(images=tf.constant(pictures.astype("float32")))
    expected = model.predict(pictures, verbose=0)
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found["label"], expected["label"])
