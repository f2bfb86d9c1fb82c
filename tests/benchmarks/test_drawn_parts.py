"""Drawn parts, and what the default recipe makes of their small defects."""

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import ede_keras
from benchmarks import drawn_parts
from ede_keras.data.datasets import load_dataset


def test_the_seed_decides_and_a_good_part_has_no_mask():
    images, masks = drawn_parts.draw(3, 5)
    assert images.shape == (3, 200, 200, 1) and images.dtype == np.uint8 and not masks.any()
    np.testing.assert_array_equal(images, drawn_parts.draw(3, 5)[0])
    assert (images != drawn_parts.draw(3, 6)[0]).any()


@pytest.mark.parametrize("kind", drawn_parts.KINDS)
def test_a_defect_is_small_and_where_its_mask_says(kind):
    images, masks = drawn_parts.draw(20, 5, kind)
    assert masks.any(axis=(1, 2)).all() and masks.mean() < 0.01
    metal = np.median(images[images > 100])  # the background is darker
    for image, mask in zip(images[..., 0].astype(float), masks, strict=True):
        assert abs(image[mask].mean() - metal) > 15


def test_the_command_writes_a_folder(run_command, tmp_path):
    folder = tmp_path / "drawn"
    run_command("-m", "benchmarks.drawn_parts", f"--folder={folder}", "--n=7")
    dataset = load_dataset(folder)
    assert (len(dataset.x_train), len(dataset.x_test)) == (7, 100 + 3 * 60)
    mask = np.asarray(Image.open(folder / "ground_truth/hole/003_mask.png"))
    np.testing.assert_array_equal(mask == 255, drawn_parts.draw(4, 3, "hole")[1][3])
    again = run_command("-m", "benchmarks.drawn_parts", f"--folder={folder}", check=False)
    assert again.returncode == 1 and "exists" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("n", [40, 120])
def test_the_score_sees_what_the_map_sees(n):
    """Each kind of defect: the score's AUROC is at most .03 below that of the map's peak."""
    images, _ = drawn_parts.draw(n, 1000)
    model, _ = ede_keras.fit_recipe("default", images[n // 5 :], seed=0, verbose=0)
    model.calibrate(images[n // 5 :], held_out=images[: n // 5])
    good = model.predict(drawn_parts.draw(60, 1)[0], verbose=0)
    for i, kind in enumerate(drawn_parts.KINDS):
        bad = model.predict(drawn_parts.draw(40, 2 + i, kind)[0], verbose=0)
        truth = np.repeat([0, 1], [60, 40])
        score, peak = (
            roc_auc_score(truth, np.concatenate([values(good), values(bad)]))
            for values in (lambda o: o["score"], lambda o: o["anomaly_map"].max(axis=(1, 2)))
        )
        assert peak > 0.9 and score > peak - 0.03
