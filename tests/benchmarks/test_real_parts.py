"""The table of real parts."""

from types import SimpleNamespace

import numpy as np
from makers import make_backbone, make_images
from sklearn.metrics import roc_auc_score

import ede_keras
from benchmarks import parts, rendering, tables
from ede_keras.backbones.backbone import Backbone, choose_maps


def test_a_row_per_set_and_recipe():
    lines = [
        {"set": "screw", "recipe": "features", "tile": None, "seed": seed, "auroc": 0.7 + seed / 10}
        | {"seconds": 10 + seed, "ms_an_image": 4.0, "pca_of_places": 0.5}
        for seed in range(3)
    ]
    lines.append({"set": "screw", "recipe": "default", "tile": 64, "seed": 0, "auroc": 0.25})
    lines[-1] |= {"seconds": 7.4, "ms_an_image": 1.2, "pixel_auroc": None}
    heads, _, *rows = (
        dict(zip(range(20), (cell.strip() for cell in row.split("|")[1:-1]), strict=False))
        for row in rendering.render_parts(lines).splitlines()
    )
    columns = {name: i for i, name in heads.items()}
    features, default = rows
    assert [features[i] for i in range(4)] == ["screw", "features", "3", ".800 ± .082"]
    assert [default[i] for i in range(4)] == ["screw", "default, tiles of 64", "1", ".250"]
    assert features[columns["pca of places"]] == ".500 ± .000"
    assert default[columns["pixel auroc"]] == "" and default[columns["seconds in all"]] == "7"


def test_baselines_see_the_features_of_the_model():
    x = make_images([0] * 20 + [1] * 6, (40, 40, 3))
    model = ede_keras.EDE(
        (40, 40, 3),
        backbone=Backbone(choose_maps(make_backbone())),
        image_size=64,
        base_width=2,
        latent_dim=4,
    )
    model.prepare_training(x[:14])
    split = SimpleNamespace(
        x_train=x[:8], x_val=x[8:14], x_test=x[14:], y_test=np.repeat([0, 1], 6)
    )
    found = parts.score_baselines(model, split, seed=0)
    rows = np.asarray(model.prepare(x))[:, : model.space.features.vector]
    nearest = np.linalg.norm(rows[14:, None] - rows[:14], axis=2).min(1)
    expected = roc_auc_score(split.y_test, nearest)
    assert abs(found["nearest_neighbour_of_vectors"] - expected) < 1e-6
    assert set(found) == {
        f"{name}_of_{part}" for name in tables.BASELINES for part in ("vectors", "places")
    }
