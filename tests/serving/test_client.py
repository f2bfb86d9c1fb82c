"""The client, tested with a stand-in server in another process, over real gRPC and REST."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from commands import ROOT, read_rows
from PIL import Image

import ede_keras
from ede_keras import EDE
from ede_keras.cli.maps import Pictures
from ede_keras.cli.watch import watch_by_server
from ede_keras.data.images import decoding
from ede_keras.data.images.files import load_images
from ede_keras.errors import InputError
from ede_keras.serving.client import ScoringClient

LEFT_OUT = "evaluation-new-left_out.csv"


@contextlib.contextmanager
def serve(folder, busy=0):
    """Starts a stand-in server and yields its gRPC and REST addresses."""
    command = [sys.executable, Path(__file__).parent / "standin.py", folder, "parts", str(busy)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        grpc_port, rest_port = process.stdout.readline().split()
        yield {"grpc": f"localhost:{grpc_port}", "rest": f"http://localhost:{rest_port}"}
        process.stdin.close()


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (21, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(pixels):
    model = EDE((8, 8, 1), latent_dim=4, base_width=2)
    model.calibrate(pixels[:15], held_out=pixels[15:])
    return model


@pytest.fixture(scope="module")
def folder(export_unchecked, model, tmp_path_factory):
    return export_unchecked(model, tmp_path_factory.mktemp("serving") / "parts")


@pytest.fixture(scope="module")
def addresses(folder):
    with serve(folder) as addresses:
        yield addresses


@pytest.fixture(scope="module", params=["grpc", "rest"])
def client(request, addresses):
    with ScoringClient(addresses[request.param], "parts", batch_size=8) as client:
        yield client


@pytest.fixture(scope="module")
def files(pixels, tmp_path_factory):
    """A folder in MVTec's layout with images of several sizes, grey and colour."""
    folder = tmp_path_factory.mktemp("files")
    for i, name in enumerate(["train/good", "test/good", "test/good", "test/dent", "test/dent"]):
        (folder / name).mkdir(parents=True, exist_ok=True)
        image = np.kron(pixels[i], np.ones((1 + i, 2, 1 if i % 2 else 3), np.uint8))
        encode = tf.io.encode_jpeg if i == 2 else tf.io.encode_png
        (folder / name / f"{i}.png").write_bytes(encode(image).numpy())
    return folder


def test_arrays_score_as_in_predict(client, model, pixels):
    """The batches have 8, 8 and 5 images."""
    found = client.score(pixels)
    wanted = model.predict(pixels, verbose=0)
    np.testing.assert_allclose(found["score"], wanted["score"], rtol=1e-4)
    np.testing.assert_array_equal(found["label"], wanted["label"])
    assert found["threshold"] == pytest.approx([model.threshold] * 21)
    assert [found[name].dtype for name in ("score", "label")] == ["float32", "int32"]


def test_files_and_contents_score_as_if_the_loader_decoded_them(client, model, files):
    paths = sorted(files.rglob("*.png"))
    wanted = model.predict(load_images(paths, (8, 8, 1))[0], verbose=0)["score"]
    np.testing.assert_allclose(client.score(paths)["score"], wanted, rtol=1e-4)
    np.testing.assert_allclose(client.score([str(p) for p in paths])["score"], wanted, rtol=1e-4)
    contents = [path.read_bytes() for path in paths]
    np.testing.assert_allclose(client.score(contents)["score"], wanted, rtol=1e-4)


def test_maps_of_arrays_and_files(client, model, pixels, files):
    wanted = model.predict(pixels, verbose=0)["anomaly_map"]
    found = client.compute_maps(pixels)
    np.testing.assert_allclose(found["anomaly_map"], wanted, rtol=1e-3, atol=1e-4)
    assert found["pixel_threshold"] == pytest.approx([model.pixel_threshold] * len(pixels))
    paths = sorted(files.rglob("*.png"))
    wanted = model.predict(load_images(paths, (8, 8, 1))[0], verbose=0)["anomaly_map"]
    found = client.compute_maps(paths)["anomaly_map"]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_custom_threshold(client, model, pixels):
    scores = model.predict(pixels, verbose=0)["score"]
    between = float(np.sort(scores)[10:12].mean())
    found = client.score(pixels, threshold=between)
    np.testing.assert_array_equal(found["label"], scores > between)
    assert found["threshold"] == pytest.approx([between] * 21)


@pytest.mark.parametrize("images", [[], np.empty((0, 8, 8, 1))])
def test_no_images_have_no_scores(client, images):
    found = client.score(images)
    assert {name: (len(a), str(a.dtype)) for name, a in found.items()} == {
        "score": (0, "float32"),
        "label": (0, "int32"),
        "threshold": (0, "float32"),
    }


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((2, 9, 8, 1), 99), r"server refused.*\[2,9,8,1\].*\[\?,8,8,1\]"),
        (np.full((2, 8, 8, 3), 99), r"server refused.*\[2,8,8,3\].*\[\?,8,8,1\]"),
        ([b"no image"], "server refused.*Expected the content of a PNG, JPEG"),
        ([b""], "server refused.*Expected the content of a PNG, JPEG"),
        (
            np.zeros((8, 8, 1)),
            r"\(n, height, width, channels\). Received: float64 of shape .8, 8, 1",
        ),
        (np.zeros((1, 8, 8, 1), complex), "must be numbers .* Received: complex128"),
        ("one.png", "a sequence of images; put a single image into a list. Received: 'one.png'"),
    ],
)
def test_a_refused_request_says_what_was_expected(client, pixels, images, message):
    with pytest.raises(InputError, match="(?s)" + message):
        client.score(images)
    assert len(client.score(pixels[:1])["score"]) == 1  # the server still runs


def test_truncated_image(client, files):
    whole = (files / "test/good/2.png").read_bytes()  # a JPEG
    with pytest.raises(InputError, match="(?s)server refused.*JPEG"):
        client.score([whole, whole[: len(whole) // 4]])


def test_missing_model_or_version(addresses, pixels):
    for address in addresses.values():
        with pytest.raises(InputError, match="server refused.*not found"):
            ScoringClient(address, "cars").score(pixels)
        with pytest.raises(InputError, match="server refused.*not found"):
            ScoringClient(address, "parts", version=2).score(pixels)
        assert len(ScoringClient(address, "parts", version=1).score(pixels)["score"]) == 21


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_retries_on_a_busy_server(folder, pixels, kind):
    with serve(folder, busy=3) as addresses:
        client = ScoringClient(addresses[kind], "parts")
        assert len(client.score(pixels)["score"]) == 21


def test_evaluate_with_a_server(run_command, addresses, files, model, tmp_path):
    for kind, address in addresses.items():
        output_dir = tmp_path / kind
        flags = (f"--server={address}", "--model_name=parts", f"--dataset={files}")
        places = (f"--output_dir={output_dir}", f"--maps={output_dir / 'maps'}", "--raw_maps=npy")
        done = run_command("evaluate.py", *flags, *places)
        assert "AUROC" in done.stdout and "4/4" not in done.stdout
        metrics = json.loads((output_dir / f"evaluation-{files.name}.json").read_text())
        assert metrics["n_test"] == 4 and metrics["n_anomalous"] == 2
        assert metrics["threshold"] == pytest.approx(model.threshold)
        rows = (output_dir / f"evaluation-{files.name}.csv").read_text().splitlines()
        assert rows[0] == "path,true_label,score,label"
        path, true_label, score, _ = rows[1].split(",")
        assert (path, true_label) == ("test/dent/3.png", "1")
        decoded, _ = load_images([files / path], (8, 8, 1))
        wanted = model.predict(decoded, verbose=0)["score"][0]
        assert float(score) == pytest.approx(wanted, rel=1e-4)
        read = ede_keras.score_images(model, [files / path], maps=True)
        found = np.load(output_dir / "maps" / f"{path}.npy")
        np.testing.assert_allclose(found, read["anomaly_map"][0], rtol=1e-3, atol=1e-4)
        assert (output_dir / "maps" / f"{path}.png").exists()
        assert (output_dir / "maps" / "regions.csv").exists()


def test_watching_with_a_server(addresses, files, model, tmp_path, monkeypatch):
    """Scores, and pictures of the anomalous images, are those of the model."""
    watched = shutil.copytree(files, tmp_path / "arriving")
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(watched / "white.png")
    for kind, address in addresses.items():
        looks = iter(range(2))

        def sleep(_, looks=looks):
            if next(looks, None) is None:
                raise KeyboardInterrupt

        monkeypatch.setattr("ede_keras.cli.watch.time.sleep", sleep)
        place = tmp_path / kind
        (place / "maps").mkdir(parents=True)
        watch_by_server(watched, place, address, "parts", Pictures(place / "maps", "npy", 65535))
        rows = read_rows(place / "watch-arriving.csv")
        read = ede_keras.score_images(model, [watched / row["path"] for row in rows], maps=True)
        assert len(rows) == 6
        np.testing.assert_allclose([float(r["score"]) for r in rows], read["score"], rtol=1e-4)
        drawn = [path for path in (place / "maps").rglob("*.npy")]
        assert len(drawn) == sum(row["label"] == "1" for row in rows) > 0
        for row, anomaly_map in zip(rows, read["anomaly_map"], strict=True):
            if row["label"] == "1":
                found = np.load(place / "maps" / f"{row['path']}.npy")
                np.testing.assert_allclose(found, anomaly_map, rtol=1e-3, atol=1e-4)


def test_one_bad_file_does_not_keep_the_others_from_a_server(
    run_command, addresses, model, pixels, tmp_path
):
    """And other formats, 12 bits and turned photos score as `evaluate.py --run_dir` scores them."""
    folder = tmp_path / "new"
    folder.mkdir()
    tags = Image.Exif()
    tags[0x0112] = 6
    for i, name in enumerate(("0.png", "1.webp", "2.tif", "3.jpg", "4.bmp")):
        image = Image.fromarray(pixels[i, ..., 0])
        image.save(folder / name, exif=tags, lossless=True)
    Image.fromarray(pixels[5, ..., 0].astype("uint16") * 257).save(folder / "5.tif")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("none")
    for address in addresses.values():
        flags = (f"--server={address}", "--model_name=parts", f"--dataset={folder}")
        done = run_command("evaluate.py", *flags, f"--output_dir={tmp_path}")
        assert "1 file, damaged: cut.png" in done.stderr
        assert "6 of 8 files used" in done.stdout and "notes.txt" in done.stdout
        rows = read_rows(tmp_path / "evaluation-new.csv")
        paths = [folder / row["path"] for row in rows]
        assert [path.name[0] for path in paths] == list("012345")
        decoded, _ = load_images(paths, (8, 8, 1))
        wanted = model.predict(decoded, verbose=0)["score"]
        np.testing.assert_allclose([float(row["score"]) for row in rows], wanted, rtol=1e-4)
        left_out = {row["path"]: row["reason"] for row in read_rows(tmp_path / LEFT_OUT)}
        assert left_out == {
            "cut.png": "damaged",
            "notes.txt": "not an image of a supported format (.txt)",
        }
        assert json.loads((tmp_path / "evaluation-new-data.json").read_text())["seen"] == 8
    # With --strict it is said before a request: nothing listens there.
    flags = ("--server=localhost:9", *flags[1:], "--strict")
    done = run_command("evaluate.py", *flags, check=False)
    assert done.returncode == 1 and "Every file in" in done.stderr
    assert "damaged: cut.png" in done.stderr


def test_what_a_server_refuses_is_left_out(
    run_command, export_unchecked, model, pixels, tmp_path, monkeypatch
):
    """This server takes smaller images than the client reads."""
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1000)
    exported = export_unchecked(model, tmp_path / "parts")
    monkeypatch.undo()
    folder = tmp_path / "new"
    folder.mkdir()
    for i in range(5):
        size = 40 if i in (0, 3) else 8
        Image.fromarray(pixels[i, ..., 0]).resize((size, size)).save(folder / f"{i}.png")
    with serve(exported) as addresses:
        for address in addresses.values():
            flags = (f"--server={address}", "--model_name=parts", f"--output_dir={tmp_path}")
            done = run_command("evaluate.py", f"--dataset={folder}", *flags)
            assert "3 of 5 files used" in done.stdout
            rows = read_rows(tmp_path / "evaluation-new.csv")
            assert [row["path"] for row in rows] == ["1.png", "2.png", "4.png"]
            wanted = model.predict(pixels[[1, 2, 4]], verbose=0)["score"]
            np.testing.assert_allclose([float(row["score"]) for row in rows], wanted, rtol=1e-4)
            left_out = {row["path"]: row["reason"] for row in read_rows(tmp_path / LEFT_OUT)}
            assert {*left_out} == {"0.png", "3.png"}
            for reason in left_out.values():
                assert reason.startswith("refused: ") and "at most 1000 pixels" in reason
            done = run_command("evaluate.py", f"--dataset={folder / '0.png'}", *flags, check=False)
            assert done.returncode == 1 and "Check that --model_name is a model" in done.stderr
            assert "at most 1000 pixels" in done.stderr


def test_the_client_names_a_file_that_cannot_be_read(client, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a.png \(.*not an image, judging by its content"):
        client.score([tmp_path / "a.png"])


def test_evaluate_needs_either_a_run_or_a_server(run_command):
    for flags in [[], ["--run_dir=runs", "--server=localhost:1"]]:
        done = run_command("evaluate.py", *flags, check=False)
        assert done.returncode == 1 and "either --run_dir" in done.stderr
        assert "or --server" in done.stderr
    for given, message in [
        (["--dataset=digits"], "existing folder of images"),
        (["--dataset=tests", "--omega1=1"], "--omega1"),
    ]:
        flags = ["--server=localhost:1", *given]
        done = run_command("evaluate.py", *flags, check=False)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr


def test_the_readmes_snippet(addresses, files, capsys):
    _, snippet = re.findall("```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    for name in ("001", "002"):
        snippet = snippet.replace(f"parts/{name}.png", str(files / "test/dent/3.png"))
    exec(snippet.replace('"localhost:8500"', f'"{addresses["grpc"]}", "parts"', 1))
    assert re.fullmatch(r"\[[01] [01]\]\n", capsys.readouterr().out)


@pytest.mark.skipif(
    "TF_SERVING_ADDRESS" not in os.environ,
    reason="TF_SERVING_ADDRESS is not set; README's docker command starts a server",
)
def test_a_real_server():
    """The server has a model of this package, named TF_SERVING_MODEL or `ede`."""
    client = ScoringClient(
        os.environ["TF_SERVING_ADDRESS"], os.environ.get("TF_SERVING_MODEL", "ede")
    )
    noise = np.random.default_rng(0).integers(0, 256, (5, 40, 30, 3), dtype=np.uint8)
    found = client.score([tf.io.encode_png(image).numpy() for image in noise])
    assert np.isfinite(found["score"]).all()
    np.testing.assert_array_equal(found["label"], found["score"] > found["threshold"])
