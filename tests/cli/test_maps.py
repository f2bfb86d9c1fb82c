"""Where images are anomalous: pictures, raw maps and boxes, by a run and by a server."""

import shutil

import numpy as np
import pytest
from commands import read_rows
from makers import write_image
from PIL import Image

import ede_keras
from ede_keras.cli.maps import Mapped, write_maps
from ede_keras.cli.runs import load_run
from ede_keras.errors import InputError
from ede_keras.evaluation.overlays import CONTOUR
from ede_keras.evaluation.regions import find_regions


def test_boxes_are_in_pixels_of_the_image(tmp_path):
    """A map of 10 x 10 over a picture of 80 x 40."""
    anomaly_map = np.zeros((10, 10), "float32")
    anomaly_map[2:4, 5:8] = 4.0
    path = write_image(tmp_path / "in" / "a.png", np.full((80, 40, 3), 90, "uint8"))
    blank = Mapped("7", np.full((10, 10, 1), 200, "uint8"), np.zeros((10, 10), "float32"))
    images = [Mapped("in/a.png", path, anomaly_map), blank]
    assert write_maps(tmp_path / "maps", iter(images), 1.0, "npy") == 1
    (row,) = read_rows(tmp_path / "maps" / "regions.csv")
    assert row["path"] == "in/a.png" and float(row["peak"]) == 4.0
    x, y, width, height = (int(row[name]) for name in ("x", "y", "width", "height"))
    # The map's cells are 4 x 8 pixels; between cells it is interpolated.
    assert abs(x - 20) <= 4 and abs(y - 16) <= 8 and abs(x + width - 32) <= 4
    assert abs(y + height - 32) <= 8
    values = np.load(tmp_path / "maps/in/a.png.npy")
    assert values.shape == (80, 40) and values.dtype == np.float32
    with Image.open(tmp_path / "maps/in/a.png.png") as picture:
        pixels = np.asarray(picture)
    lines = (pixels == CONTOUR).all(-1)
    assert lines.any() and (values[lines] > 1.0).all()
    assert (pixels[:8, :8] == 90).all()  # where nothing is, the picture stays as it is
    with Image.open(tmp_path / "maps/7.png") as picture:
        assert (np.asarray(picture) == 200).all()


def test_a_name_does_not_lead_out_of_the_folder(tmp_path):
    image = Mapped("../a", np.zeros((4, 4, 1), "uint8"), np.zeros((4, 4), "float32"))
    with pytest.raises(InputError, match="inside of the images' folder"):
        write_maps(tmp_path / "maps", [image], 1.0)
    assert not (tmp_path / "maps/regions.csv").exists()


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for name, size in (("a.png", (24, 30)), ("in/b.jpg", (8, 8))):
        write_image(tmp_path / "some" / name, random.integers(0, 256, (*size, 3), dtype=np.uint8))
    return tmp_path / "some"


def test_the_command(run_dir, run_command, folder, tmp_path):
    (folder / "a.png").rename(folder / "in" / "a.png")
    flags = (f"--run_dir={run_dir}", f"--output_dir={tmp_path}", f"--maps={tmp_path / 'maps'}")
    done = run_command("evaluate.py", *flags, f"--dataset={folder}", "--raw_maps=tiff")
    written = {str(p.relative_to(tmp_path / "maps")) for p in (tmp_path / "maps").rglob("*.*")}
    files = {f"in/{name}.{kind}" for name in ("a.png", "b.jpg") for kind in ("png", "tiff")}
    assert written == {"regions.csv", *files}
    _, metrics, model = load_run(run_dir)
    assert metrics["pixel_threshold"] == pytest.approx(model.pixel_threshold)
    found = ede_keras.score_images(model, folder / "in", maps=True)
    rows = read_rows(tmp_path / "maps/regions.csv")
    for name, wanted in zip(found["name"], found["anomaly_map"], strict=True):
        with Image.open(tmp_path / "maps/in" / f"{name}.tiff") as image:
            np.testing.assert_allclose(np.asarray(image), wanted, rtol=1e-4, atol=1e-5)
        regions = find_regions(wanted, model.pixel_threshold)
        boxes = [row for row in rows if row["path"] == f"in/{name}"]
        assert [int(row["x"]) for row in boxes] == [region.x for region in regions]
    n = len({row["path"] for row in rows})
    assert f"{n} of 2 images have an anomalous region" in done.stdout
    done = run_command("evaluate.py", *flags[:2], "--raw_maps=npy", check=False)
    assert "--raw_maps works only with --maps" in done.stderr


def test_maps_of_the_runs_own_arrays(run_dir, run_command, tmp_path):
    run = shutil.copytree(run_dir, tmp_path / "run")
    run_command("evaluate.py", f"--run_dir={run}", f"--maps={tmp_path / 'maps'}")
    names = {row["index"] for row in read_rows(run / "evaluation.csv")}
    assert {path.stem for path in (tmp_path / "maps").glob("*.png")} == names
