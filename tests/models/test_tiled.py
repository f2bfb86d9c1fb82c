"""Large images tile by tile, against loops over the tiles."""

import json

import keras
import numpy as np
import pytest
from commands import SMALL
from makers import write_folder

from ede_keras.errors import InputError
from ede_keras.layers import tiles as tiles_module
from ede_keras.layers.tiles import Tiles, tile_starts
from ede_keras.models.arguments import COPIES
from ede_keras.models.tiled import TiledDetector


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 20, 13, 1), dtype=np.uint8)


@pytest.fixture
def tiled(build):
    def tiled(**arguments):
        return TiledDetector(build(**arguments), (20, 13, 1), stride=5)

    return tiled


def corners():
    """Where the tiles of 8 x 8 pixels of a 20 x 13 image begin, at a stride of 5.

    The image has a mirrored margin of 1 on each side, from which positions count.
    """
    return [(top, left) for top in (0, 5, 9, 14) for left in (0, 4, 7)]


def with_margin(pictures):
    return np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")


def test_tiles_reach_to_the_end():
    assert tile_starts(20, 8, 5).tolist() == [0, 4, 8, 12]
    assert tile_starts(13, 8, 5).tolist() == [0, 5]
    assert tile_starts(8, 8, 3).tolist() == [0]
    for length in range(8, 60):
        starts = tile_starts(length, 8, 5)
        assert starts[0] == 0 and starts[-1] == length - 8
        assert len(starts) == 1 or 0 < np.diff(starts).min() <= np.diff(starts).max() <= 5


def test_how_many_tiles():
    assert tiles_module.count_tiles((20, 13, 1), 8, 5) == len(corners()) == 12
    assert tiles_module.count_tiles((28, 12, 3), 16, 16) == 4  # of 32 x 20 pixels
    assert tiles_module.count_tiles((5, 5, 1), 7) == 1


def test_cut_and_merged(pictures):
    layer = Tiles(20, 13, 8, 5, margin=1)
    cut = np.asarray(layer(pictures.astype("float32")))
    padded = with_margin(pictures)
    expected = [p[top : top + 8, left : left + 8] for p in padded for top, left in corners()]
    np.testing.assert_array_equal(cut, expected)
    np.testing.assert_allclose(layer.merge(cut), pictures, rtol=1e-5)
    values = np.random.default_rng(1).random(cut.shape, "float32")
    # Weights fall to the edges: 2, 4, 6, 8, 8, 6, 4, 2 of 8.
    fall = np.array([2, 4, 6, 8, 8, 6, 4, 2]) / 8
    window = np.outer(fall, fall)[..., None]
    sums, weights = np.zeros(padded.shape), np.zeros(padded.shape)
    for i, value in enumerate(values):
        top, left = corners()[i % 12]
        sums[i // 12, top : top + 8, left : left + 8] += window * value
        weights[i // 12, top : top + 8, left : left + 8] += window
    inside = (sums / weights)[:, 1:-1, 1:-1]
    np.testing.assert_allclose(layer.merge(values), inside, rtol=1e-5)


def test_no_seams():
    """Tiles that each have another level are joined without steps."""
    layer = Tiles(64, 64, 32, 16, margin=4)
    n_tiles = len(layer.table)
    levels = np.random.default_rng(0).random((n_tiles, 1, 1, 1))
    merged = np.asarray(layer.merge(np.ones((n_tiles, 32, 32, 1), "float32") * levels))[0, ..., 0]
    steps = max(np.abs(np.diff(merged, axis=0)).max(), np.abs(np.diff(merged, axis=1)).max())
    assert steps < np.ptp(levels) / 8  # the plain mean has steps of up to a half


def test_an_image_is_as_anomalous_as_its_worst_tile(tiled, pictures):
    model = tiled(omega1=0.3)
    model.set_threshold(0.1)
    found = model.predict(pictures, verbose=0)
    for i, picture in enumerate(with_margin(pictures)):
        cut = np.stack([picture[top : top + 8, left : left + 8] for top, left in corners()])
        inner = model.detector(cut.astype("float32"))
        assert found["score"][i] == pytest.approx(np.max(inner["score"]), rel=1e-4)
    np.testing.assert_array_equal(found["label"], found["score"] > 0.1)
    assert found["anomaly_map"].shape == (6, 20, 13)
    assert model.reconstruct(pictures).shape == pictures.shape
    assert model.encode(pictures).shape == (6, 12 * 4)


def test_trained_calibrated_saved(tiled, pictures, tmp_path):
    model = tiled(pretext="rotations", memory_size=20)
    history = model.fit(pictures, batch_size=24, epochs=1, validation_data=pictures[:2], verbose=0)
    assert {"loss", "val_loss"} <= set(history.history)
    with pytest.warns(UserWarning, match="explain 0% of what varies.*Use recipe features"):
        terms = model.calibrate(pictures[:4], held_out=pictures[4:])  # noise cannot be learned
    assert model.threshold == pytest.approx(terms["worst_tile"].max())
    assert model.detector.threshold < np.inf
    scores = model.predict(pictures, verbose=0)["score"]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(pictures, verbose=0)["score"], scores)
    other = loaded.redecide(terms, contamination=0.5)
    assert other.threshold == pytest.approx(terms["worst_tile"].min())
    np.testing.assert_array_equal(other.predict(pictures, verbose=0)["score"], scores)
    with pytest.raises(InputError, match="omega1"):
        loaded.redecide(terms, omega1=0.5)


def scaled(values, normal):
    return (values - normal.mean()) / normal.std()


def test_beside_the_tiles_the_whole_image(build, pictures, tmp_path):
    """The sum of both scores and the larger of both maps, in deviations of held-out images."""
    shape, normal = (20, 13, 1), pictures[:4]
    model = TiledDetector(build(), shape, stride=5, whole=build(image_shape=shape))
    model.fit(normal, batch_size=4, epochs=1, verbose=0)
    assert model.whole.epoch == model.detector.epoch == 1
    with pytest.warns(UserWarning, match="explain 0% of what varies"):
        terms = model.calibrate(normal, held_out=pictures[4:])
    assert set(terms) == {"worst_tile", "whole_image"}
    found = model.predict(pictures, verbose=0)
    tiles = TiledDetector(model.detector, shape, stride=5)
    tiles.set_threshold(0)
    parts = [part.predict(pictures, verbose=0) for part in (tiles, model.whole)]
    score = sum(scaled(part["score"], part["score"][4:]) / 2 for part in parts)
    np.testing.assert_allclose(found["score"], score, rtol=1e-3, atol=1e-3)
    maps = [scaled(part["anomaly_map"], part["anomaly_map"][4:]) for part in parts]
    np.testing.assert_allclose(found["anomaly_map"], np.maximum(*maps), rtol=1e-3, atol=1e-3)
    assert model.pixel_threshold == pytest.approx(found["anomaly_map"][4:].max())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for name, values in loaded.predict(pictures, verbose=0).items():
        np.testing.assert_array_equal(values, found[name])
    other = loaded.redecide(terms, contamination=0.5)
    assert other.threshold == pytest.approx(found["score"][4:].min())
    threshold = model.threshold
    model.set_threshold(0)
    with pytest.warns(UserWarning, match="explain 0% of what varies"):
        model.calibrate(
            normal, held_out=pictures[4:], tiles=(model.cut(normal), model.cut(pictures[4:]))
        )
    assert model.threshold == pytest.approx(threshold)


def test_an_older_file_has_tiles_alone(tiled, pictures):
    model = tiled()
    config = model.get_config()
    assert config.pop("whole") is None
    older = TiledDetector.from_config(config)
    older.set_weights(model.get_weights())
    older.set_threshold(0)
    model.set_threshold(0)
    expected, found = (each.predict(pictures, verbose=0) for each in (model, older))
    np.testing.assert_array_equal(found["score"], expected["score"])


def test_a_whole_of_another_size_is_refused(build):
    with pytest.raises(InputError, match=r"`whole` must be a detector of images of \(20, 13, 1\)"):
        TiledDetector(build(), (20, 13, 1), whole=build())


def test_of_many_tiles_some_are_trained_on(tiled, pictures, monkeypatch):
    model = tiled()
    assert len(model.cut(pictures)) == 6 * 12
    monkeypatch.setattr(tiles_module, "MAX_TILES", 10)
    with pytest.warns(UserWarning, match="10 of 72 tiles are used, chosen at random"):
        some = model.cut(pictures)
    assert some.shape == (10, 8, 8, 1) and some.dtype == np.uint8
    with pytest.warns(UserWarning, match="10 of 72 tiles"):
        np.testing.assert_array_equal(model.cut(pictures), some)


@pytest.mark.slow
def test_the_commands(run_command, tmp_path):
    """Trained on tiles of images that keep their size, stopped and resumed, scored, exported."""
    folder = write_folder(tmp_path / "parts", "mvtec", n=5, size=40, channels=1)
    flags = (f"--dataset={folder}", f"--output_dir={tmp_path}", "--tile=16", "--stride=12", *SMALL)
    flags = (*flags, "--variant=autoencoder")
    run_command("train.py", *flags)
    run = tmp_path / "parts/good/0"
    config, metrics = (json.loads((run / f"{n}.json").read_text()) for n in ("config", "metrics"))
    assert config["image_shape"] == [40, 40, 1] and config["memory_size"] == COPIES * 3 * 16
    assert (config["tile"], config["stride"]) == (16, 12) and "pixel_aupro" in metrics
    assert config["whole"]["memory_size"] == COPIES * 3  # of three images to train on
    assert set(metrics["terms"]) == {"worst_tile", "whole_image"}
    run_command("evaluate.py", f"--run_dir={run}", "--contamination=0.05", "--report")
    assert (run / "evaluation.csv").read_bytes() == (run / "scores.csv").read_bytes()
    run_command("-m", "ede_keras.export", f"--run_dir={run}", f"--output_dir={tmp_path / 'ede'}")
    done = run_command("train.py", *flags, "--stride=17", "--overwrite", check=False)
    assert done.returncode == 1 and "--stride must be from 1 to 16" in done.stderr
    done = run_command("train.py", "--stride=8", check=False)
    assert done.returncode == 1 and "--stride has no effect without --tile" in done.stderr


@pytest.mark.parametrize("image_shape", [(7, 20, 1), (20, 20, 3), (20, 20)])
def test_images_that_hold_no_tile(build, image_shape):
    with pytest.raises(InputError, match="sides at least as long as a square tile"):
        TiledDetector(build(), image_shape)


@pytest.mark.parametrize("stride", [-1, 9])
def test_strides_that_leave_gaps(build, stride):
    with pytest.raises(InputError, match="`stride` must be from 1 to 8"):
        TiledDetector(build(), (20, 20, 1), stride)
