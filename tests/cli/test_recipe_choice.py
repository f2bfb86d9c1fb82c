"""The recipe for a folder of images: on a backbone if its weights are there."""

import json
import re

import numpy as np
import pytest
from makers import write_folder
from PIL import Image

from ede_keras.backbones import sources
from ede_keras.cli.train_config import choose_image_shape, choose_recipe, note_proportions
from ede_keras.data.datasets import load_dataset


@pytest.mark.parametrize(
    ("recipe", "dataset", "installed", "expected", "said"),
    [
        ("auto", "digits", True, "default", ""),
        ("auto", "path/to/arrays.NPZ", True, "default", ""),
        ("auto", "path/to/parts", True, "features", "--recipe=default"),
        ("auto", "path/to/parts", False, "default", "pip install 'ede-keras[backbone]'"),
        ("paper", "path/to/parts", True, "paper", ""),
        ("features", "digits", False, "features", ""),
    ],
)
def test_choice(monkeypatch, capsys, recipe, dataset, installed, expected, said):
    monkeypatch.setattr(sources, "is_installed", lambda: installed)
    assert choose_recipe(recipe, dataset) == expected
    shown = capsys.readouterr().out
    assert said in shown and len(shown.splitlines()) == bool(said)


def test_images_keep_their_size_for_a_backbone_and_for_tiles():
    assert choose_image_shape("net", 64, None) == ((None, None, None), 512)
    assert choose_image_shape("net", None, 64) == ((None, None, None), None)
    assert choose_image_shape(None, None, None) == (None, None)
    assert choose_image_shape(None, 64, None) == ((64, 64, None), None)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([(40, 90)], None),
        ([(20, 50), (9, 40)], "one of 9 x 40 pixels are squeezed into a square; --tile=20 trains"),
        ([(30, 30), (40, 900), (999, 999)], "one of 40 x 900 pixels .*; --tile=30 trains"),
        ([(90, 10)], "one of 90 x 10 pixels are squeezed into a square$"),
    ],
)
def test_long_images_are_said_to_be_squeezed(tmp_path, sizes, said):
    for number, size in enumerate(sizes):
        noise = np.random.default_rng(number).integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    summary = load_dataset(str(tmp_path)).summary
    lines = note_proportions(summary, has_tiles=True)
    assert len(lines) == (said is not None) and all(re.search(said, line) for line in lines)
    assert all("--tile" not in line for line in note_proportions(summary, has_tiles=False))


@pytest.mark.slow
def test_a_folder_from_training_to_the_report(run_command, tmp_path):
    folder = write_folder(tmp_path / "parts", "mvtec", n=6, size=70)
    flags = (f"--dataset={folder}", f"--output_dir={tmp_path / 'runs'}", "--min_steps=2")
    done = run_command("train.py", *flags, "--epochs=1")
    assert done.stdout.startswith("Recipe features") and "AUROC" in done.stdout
    run = tmp_path / "runs/parts/good/0"
    config = json.loads((run / "config.json").read_text())
    assert (config["recipe"], config["backbone"]) == ("features", "efficientnet_lite0")
    assert config["backbone_sha256"] == sources.hash_file(sources._find_lite0())
    assert config["image_shape"][:2] == [70, 70] and config["image_size"] == 224
    before = json.loads((run / "metrics.json").read_text())
    run_command("evaluate.py", f"--run_dir={run}", "--report")
    again = json.loads((run / "evaluation.json").read_text())
    assert again["auroc"] == before["auroc"]
    np.testing.assert_allclose(again["pixel_auroc"], before["pixel_auroc"], rtol=1e-6)
    page = (run / "evaluation.html").read_text()
    assert "anomaly map" in page and 'alt="reconstruction"' not in page
    export = tmp_path / "export"
    done = run_command("-m", "ede_keras.export", f"--run_dir={run}", f"--output_dir={export}")
    card = (export / "1/MODEL.md").read_text()
    assert "efficientnet_lite0" in card and config["backbone_sha256"] in card
    assert re.search(r"\| size \| [\d,]{9,} weights, \d+\.\d MB \|", card)
    assert re.search(r"\| speed \| \d+\.\d ms an image, ", card)
    terms = json.loads((run / "metrics.json").read_text())["terms"]
    assert list(terms)[-2:] == ["nearest_vector", "nearest_place"] and len(terms) == 5
    assert all(f"<tr><th>{name}</th>" in page for name in terms)
