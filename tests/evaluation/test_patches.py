"""Patches in held-out normal images."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import ede_keras
from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.evaluation.patches import describe_patches, find_patches, paste_patches


@pytest.mark.parametrize(("n", "shape", "side"), [(6, (16, 24, 3), 5), (1, (8, 8, 1), 8)])
def test_a_patch_changes_nothing_around_it(n, shape, side):
    images = np.random.default_rng(1).integers(0, 256, (n, *shape), dtype=np.uint8)
    pasted, masks = paste_patches(images, side)
    assert pasted.dtype == np.uint8 and pasted.shape == images.shape
    np.testing.assert_array_equal(pasted[~masks], images[~masks])
    for image, before, mask in zip(pasted, images, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask.sum() == side * side == len(rows) * len(columns)
        assert np.ptp(rows) == np.ptp(columns) == side - 1
        assert n == 1 or (image != before).any()


def test_patches_are_of_other_images_or_plain():
    """Each image has one value, so a patch says where it comes from."""
    images = np.full((40, 12, 12, 1), np.arange(40)[:, None, None, None], np.uint8)
    pasted, masks = paste_patches(images, 3, seed=2)
    values = [np.unique(image[mask]) for image, mask in zip(pasted, masks, strict=True)]
    assert {len(value) for value in values} == {1}
    of_images = [i for i, value in enumerate(values) if value[0] < 40]
    assert 10 < len(of_images) < 35 and all(values[i][0] != i for i in of_images)
    again, _ = paste_patches(images, 3, seed=2)
    np.testing.assert_array_equal(again, pasted)


@pytest.fixture(scope="module")
def split():
    return make_split(load_dataset("digits"), "split80", normal=6, seed=0)


def test_against_the_detectors_own_scores(split):
    model, _ = ede_keras.fit_rival("pca", split.x_train)
    model.calibrate(split.x_train, held_out=split.x_val)
    results = find_patches(model, split.x_val)
    assert [result.side for result in results] == [1, 2]  # a sixteenth and an eighth of 8 are 1
    images = split.x_val[:24]
    before = model.predict(images, verbose=0)["score"]
    pasted, masks = paste_patches(images, 2)
    after = model.predict(pasted, verbose=0)
    assert results[1].found == pytest.approx((after["score"] > model.threshold).mean())
    expected = roc_auc_score([0] * 24 + [1] * 24, [*before, *after["score"]])
    assert results[1].auroc == pytest.approx(expected)
    pixels = roc_auc_score(masks.ravel(), after["anomaly_map"].ravel())
    assert results[1].pixel_auroc == pytest.approx(pixels)
    assert results[1].found > results[0].found > 0  # larger ones are easier to find


def test_in_words():
    found = {28: 0.667, 56: 1.0}
    results = [{"side": n, "within": (448, 500), "found": share} for n, share in found.items()]
    said = "67% of 28 x 28 pixels, 100% of 56 x 56; images of 448 x 500"
    assert describe_patches(results) == said


def test_train_says_it(run_command, tmp_path):
    flags = ("--dataset=digits", "--normal=6", "--method=pca", f"--output_dir={tmp_path}")
    done = run_command("train.py", *flags)
    metrics = json.loads((tmp_path / "digits/6/0/metrics.json").read_text())
    found = metrics["patches_found"]
    assert [(entry["side"], entry["within"]) for entry in found] == [(1, [8, 8]), (2, [8, 8])]
    assert f"patches found         {describe_patches(found)}\n" in done.stdout
