"""Exports: signatures, versions, and no partial export after a failure."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import slow

from ede_keras import export_savedmodel
from ede_keras.data.images.decoding import decode_image
from ede_keras.errors import InputError
from ede_keras.models.variants import VARIANTS
from ede_keras.serving import savedmodel_check
from ede_keras.serving.savedmodel import warmup_sizes
from ede_keras.serving.savedmodel_check import build_requests
from ede_keras.serving.server_files import BATCH_SIZES


@pytest.fixture
def calibrated(build, images):
    def calibrated(variant="full", **arguments):
        model = build(VARIANTS[variant], **arguments)
        shape = model.image_shape
        pixels = np.resize(images, (70, *shape))
        model.calibrate(pixels[:50], held_out=pixels[50:])
        return model

    return calibrated


@pytest.fixture
def unchecked(monkeypatch):
    """Skips the check, which starts a process; a few tests run it."""
    monkeypatch.setattr(savedmodel_check, "run", lambda folder, expected: None)


@pytest.fixture
def load():
    """Loads an export into a session; returns a function that runs a signature there."""
    with contextlib.ExitStack() as sessions:

        def load(folder):
            session = sessions.enter_context(
                contextlib.closing(tf.compat.v1.Session(graph=tf.Graph()))
            )
            loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))

            def run_signature(signature_name, **inputs):
                signature = loaded.signature_def[signature_name]
                assert set(signature.inputs) == set(inputs)
                feed = {signature.inputs[name].name: value for name, value in inputs.items()}
                return session.run({name: t.name for name, t in signature.outputs.items()}, feed)

            return run_signature

        yield load


def test_all_signatures_of_a_colour_model(calibrated, load, tmp_path):
    model = calibrated(image_shape=(20, 10, 3), pretext="rotations", memory_size=20)
    folder = export_savedmodel(model, tmp_path / "ede", description="a detector")
    assert folder == tmp_path / "ede/1" and (folder / "MODEL.md").read_text() == "a detector"
    pixels = np.random.default_rng(1).integers(0, 256, (5, 20, 10, 3), dtype=np.uint8)
    images = pixels.astype("float32")
    wanted = model.predict(images, verbose=0)
    run_signature = load(folder)
    found = run_signature("serving_default", images=images)
    assert set(found) == {"score", "label", "threshold"}
    np.testing.assert_allclose(found["score"], wanted["score"], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found["label"], wanted["label"])
    assert found["threshold"] == pytest.approx([model.threshold] * 5)
    maps = run_signature("serving_map", images=images)
    assert set(maps) == {"anomaly_map", "pixel_threshold"}
    np.testing.assert_allclose(maps["anomaly_map"], wanted["anomaly_map"], atol=1e-4)
    assert maps["pixel_threshold"] == pytest.approx([model.pixel_threshold] * 5)
    encoded = np.array([tf.io.encode_png(image).numpy() for image in pixels], object)
    by_file = run_signature("serving_map_bytes", image_bytes=encoded)
    np.testing.assert_allclose(by_file["anomaly_map"], maps["anomaly_map"], atol=1e-5)
    for name in ("serving_default", "serving_map"):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Expected at least 1 image"):
            run_signature(name, images=images[:0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected at least 1 image"):
        run_signature("serving_bytes", image_bytes=np.array([], object))
    between = np.sort(wanted["score"])[2:4].mean()
    own = np.full(5, between, "float32")
    found = run_signature("serving_threshold", images=images, threshold=own)
    np.testing.assert_array_equal(found["label"], wanted["score"] > between)
    np.testing.assert_array_equal(found["threshold"], own)


def test_encoded_images_score_as_if_the_loader_decoded_them(calibrated, load, tmp_path, unchecked):
    """One request with images of several sizes, grey and colour, PNG and JPEG."""
    model = calibrated("autoencoder")
    folder = export_savedmodel(model, tmp_path)
    rng = np.random.default_rng(2)
    pictures = [rng.integers(0, 256, (*s, c), dtype=np.uint8) for *s, c in [(8, 8, 1), (40, 9, 3)]]
    encoded = [tf.io.encode_png(p).numpy() for p in pictures]
    encoded += [tf.io.encode_jpeg(p).numpy() for p in pictures]
    decoded = np.stack([decode_image(e, model.image_shape) for e in encoded])
    run_signature = load(folder)
    found = run_signature("serving_bytes", image_bytes=np.array(encoded, object))
    wanted = model.predict(decoded, verbose=0)["score"]
    np.testing.assert_allclose(found["score"], wanted, rtol=1e-4, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError):
        run_signature("serving_bytes", image_bytes=np.array([b"no image"], object))


def test_a_png_of_16_bits_has_the_white_of_the_run(calibrated, load, tmp_path, unchecked):
    model = calibrated("autoencoder")
    folder = export_savedmodel(model, tmp_path, max_value=4095)
    levels = np.random.default_rng(3).integers(0, 5000, (4, 8, 8, 1), dtype=np.uint16)
    encoded = np.array([tf.io.encode_png(image).numpy() for image in levels], object)
    found = load(folder)("serving_bytes", image_bytes=encoded)
    pixels = np.minimum(np.round(levels * (255 / 4095)), 255)
    wanted = model.predict(pixels, verbose=0)["score"]
    np.testing.assert_allclose(found["score"], wanted, rtol=1e-3, atol=1e-5)


def test_a_wrong_size_is_an_error_that_names_the_right_one(calibrated, load, tmp_path, unchecked):
    run_signature = load(export_savedmodel(calibrated("autoencoder"), tmp_path))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="8, 8, 1"):
        run_signature("serving_default", images=np.zeros((2, 9, 8, 1), "float32"))


@pytest.mark.parametrize("variant", [slow(name) for name in VARIANTS if name != "full"])
def test_every_variant_is_exported(calibrated, load, tmp_path, unchecked, variant):
    model = calibrated(variant)
    folder = export_savedmodel(model, tmp_path)
    images = build_requests(model.image_shape)["serving_default"]["images"]
    wanted = model.predict(images, verbose=0)["score"]
    found = load(folder)("serving_default", images=images)["score"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_versions_count_up_and_are_never_overwritten(calibrated, tmp_path, unchecked):
    model = calibrated("autoencoder")
    (tmp_path / "notes").mkdir()
    assert export_savedmodel(model, tmp_path, version=9).name == "9"
    before = (tmp_path / "9/saved_model.pb").read_bytes()
    assert export_savedmodel(model, tmp_path).name == "10"
    with pytest.raises(InputError, match="choose another version. Received: .*9"):
        export_savedmodel(model, tmp_path, version=9)
    with pytest.raises(InputError, match="positive integer. Received: 0"):
        export_savedmodel(model, tmp_path, version=0)
    assert (tmp_path / "9/saved_model.pb").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["10", "9", "notes"]
    assert (tmp_path / "9").stat().st_mode & 0o777 == 0o755


def test_a_failed_check_leaves_no_files(calibrated, tmp_path, monkeypatch):
    model = calibrated("autoencoder")
    run = savedmodel_check.run
    wrong = {"score": np.full(8, 77.0, "float32")}
    monkeypatch.setattr(savedmodel_check, "run", lambda f, expected: run(f, expected | wrong))
    with pytest.raises(RuntimeError, match="failed its check: .*score is .*expected .77"):
        export_savedmodel(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_weight_is_written_once(calibrated, tmp_path, unchecked):
    model = calibrated(pretext="rotations", memory_size=50)
    folder = export_savedmodel(model, tmp_path)
    checkpoint = tf.train.load_checkpoint(str(folder / "variables/variables"))
    shapes = checkpoint.get_variable_to_shape_map()
    written = sum(np.prod(shape) for name, shape in shapes.items() if "VARIABLE_VALUE" in name)
    assert 0 < written <= sum(np.prod(weight.shape) for weight in model.weights)


def test_warmup_of_large_images_is_small():
    assert warmup_sizes((28, 28, 1)) == list(BATCH_SIZES)
    assert warmup_sizes((300, 300, 1)) == [1, 8]
    assert warmup_sizes((1024, 1024, 3)) == [1]


def test_without_a_threshold_there_is_no_export(build, tmp_path):
    with pytest.raises(InputError, match="a model with a threshold"):
        export_savedmodel(build(), tmp_path / "ede")
    assert not (tmp_path / "ede").exists()


def test_the_command(run_command, run_dir, tmp_path):
    flags = (f"--run_dir={run_dir}", f"--output_dir={tmp_path / 'ede'}")
    done = run_command("-m", "ede_keras.export", *flags)
    assert done.stdout.strip().endswith(str(tmp_path / "ede/1"))
    model = keras.saving.load_model(run_dir / "model.keras")
    assert f"{model.threshold:.6g}" in (tmp_path / "ede/1/MODEL.md").read_text()
    requests = tmp_path / "ede/1/assets.extra/tf_serving_warmup_requests"
    assert len(list(tf.data.TFRecordDataset(str(requests)))) == 15
    done = run_command("-m", "ede_keras.export", *flags, "--version=1", check=False)
    assert done.returncode == 1 and "never overwritten" in done.stderr
    assert "Traceback" not in done.stderr
