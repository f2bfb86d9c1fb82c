"""Images of any size, as files or arrays, scored in one call."""

import numpy as np
import pytest
import tensorflow as tf
from makers import write_image
from PIL import Image

import ede_keras
from ede_keras.data.datasets import load_dataset
from ede_keras.errors import InputError


@pytest.fixture
def model(build, images):
    model = build()
    model.calibrate(images)
    return model


@pytest.fixture
def folder(tmp_path):
    """Images of three sizes; one in a subfolder, one that is damaged, one that is no image."""
    random = np.random.default_rng(0)
    for name, size in (("a.png", (40, 30)), ("in/b.png", (64, 64)), ("in/c.jpg", (20, 50))):
        write_image(tmp_path / "some" / name, random.integers(0, 256, (*size, 3), dtype=np.uint8))
    (tmp_path / "some" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "some" / "notes.txt").write_text("no image")
    return tmp_path / "some"


def test_files_score_as_the_commands_score_them(model, folder):
    files = [folder / "a.png", folder / "in/b.png", folder / "in/c.jpg"]
    found = ede_keras.score_images(model, [*files, folder / "cut.png", folder / "gone.png"])
    assert found["name"].tolist() == [str(path) for path in files]
    assert {name[-8:]: why for name, why in found["left_out"].items()} == {
        "/cut.png": "damaged",
        "gone.png": "no such file",
    }
    read = load_dataset([str(path) for path in files], image_shape=model.image_shape)
    np.testing.assert_array_equal(found["score"], model.predict(read.x_train, verbose=0)["score"])
    np.testing.assert_array_equal(found["label"], found["score"] > model.threshold)


def test_a_folder_and_a_pattern(model, folder):
    (folder / "a.png").rename(folder / "in/a.png")
    (folder / "cut.png").rename(folder / "in/cut.png")
    found = ede_keras.score_images(model, folder)
    assert found["name"].tolist() == ["in/a.png", "in/b.png", "in/c.jpg"]
    assert set(found["left_out"]) == {"in/cut.png", "notes.txt"}
    again = ede_keras.score_images(model, f"{folder}/in/?.*")
    np.testing.assert_array_equal(found["score"], again["score"])


def test_arrays_score_as_their_files(model, folder):
    """Grey, with alpha, of any size: the same pixels, the same score."""
    with Image.open(folder / "a.png") as image:
        colour = np.asarray(image)
    alpha = np.dstack([colour, np.full(colour.shape[:2], 7, "uint8")])
    by_file = ede_keras.score_images(model, folder / "a.png", maps=True)
    found = ede_keras.score_images(model, [colour, alpha, colour.astype("float32")], maps=True)
    assert found["name"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(found["score"], np.repeat(by_file["score"], 3), rtol=1e-5)
    assert [m.shape for m in found["anomaly_map"]] == [(40, 30)] * 3
    np.testing.assert_allclose(found["anomaly_map"][0], by_file["anomaly_map"][0], atol=1e-5)
    grey = colour[..., 0]
    both = ede_keras.score_images(model, [grey, np.repeat(grey[..., None], 3, -1)])["score"]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-5)


def test_arrays_of_the_models_size_are_taken_as_they_are(model, images):
    found = ede_keras.score_images(model, images[:9], maps=True)
    expected = model.predict(images[:9], verbose=0)
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-6)
    np.testing.assert_allclose(np.stack(found["anomaly_map"]), expected["anomaly_map"], rtol=1e-5)


def test_what_is_refused(model, folder, images):
    with pytest.raises(InputError, match="at least one image"):
        ede_keras.score_images(model, [])
    with pytest.raises(InputError, match="Expected image 1 to be .*float64 of shape"):
        ede_keras.score_images(model, [images[0], np.zeros((2, 3, 4, 5))])
    with pytest.raises(InputError, match="images that can be read.*cut.png: damaged"):
        ede_keras.score_images(model, [folder / "cut.png"])
    with pytest.raises(InputError, match="folder of images"):
        ede_keras.score_images(model, folder / "gone")
    with pytest.raises(InputError, match="ede_keras.score_images"):
        model.predict(tf.image.resize(images[:2], (40, 30)).numpy())
