"""Scoring in an Apache Beam pipeline: scores, dead letters, and no lost inputs."""

import json
import os
import re
import shlex

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import ROOT, blocks, read_rows
from makers import make_smooth_images, write_image

from ede_keras.data.images.files import load_images

pytestmark = pytest.mark.slow
beam = pytest.importorskip("apache_beam", reason="the extra `ede-keras[beam]` is not installed")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def model(build):
    keras.utils.set_random_seed(0)
    images = make_smooth_images()
    model = build()
    model.calibrate(images[:50], held_out=images[50:])
    # The threshold is the median for images like the folder's, so that both labels occur.
    noise = np.random.default_rng(1).integers(0, 256, (40, 12, 9, 3)) @ [[0.299], [0.587], [0.114]]
    noise = tf.image.resize(noise, model.image_shape[:2], antialias=True).numpy()
    model.set_threshold(float(np.median(model.predict(noise, verbose=0)["score"])))
    return model


@pytest.fixture(scope="module")
def exported(model, export_unchecked, tmp_path_factory):
    return export_unchecked(model, tmp_path_factory.mktemp("serving") / "ede")


@pytest.fixture
def folder(tmp_path):
    """Images in six formats, two of them rotated, and four unusable files."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 12, 9, 3), dtype=np.uint8)
    folder = tmp_path / "parts"
    for i, image in enumerate(pixels):
        write_image(folder / "good" / f"{i}{('.png', '.jpg', '.bmp')[i % 3]}", image)
    Image.fromarray(pixels[0]).save(folder / 'a, "b".tiff')
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(pixels[1]).save(folder / "turned.jpg", exif=tags)
    (folder / "turned\nthough.webp").write_bytes((folder / "turned.jpg").read_bytes())
    Image.fromarray(pixels[2, ..., 0] / np.float32(255)).save(folder / "fractions.tiff")
    whole = (folder / "good/0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no image")
    return folder


def run(run_command, *arguments, **kwargs):
    return run_command("-m", "ede_keras.beam", *arguments, **kwargs)


def read_all(folder, name):
    """Reads the rows of all shards."""
    shards = sorted(folder.glob(f"{name}-*.csv"))
    assert shards
    return [row for shard in shards for row in read_rows(shard)]


def counts(done):
    """What the summary says: `(scored, seen, lines on what was left out)`."""
    first, *others = done.stdout.splitlines()
    scored, seen = re.match(r"(\d+) of (\d+) inputs scored from ", first).groups()
    left_out = [line.split(": ", 1)[1] for line in others if line.startswith("  left out: ")]
    return int(scored), int(seen), sorted(left_out)


def test_a_folder_is_scored_as_predict_scores_it(model, exported, folder, tmp_path, run_command):
    flags = (f"--model={exported}", f"--input={folder}/**", f"--output={tmp_path}/out/parts")
    done = run(run_command, *flags, "--batch_size=7")
    reasons = (
        "damaged",
        "empty file",
        "floating-point pixels",
        "not an image, judging by its content",
    )
    assert counts(done) == (23, 27, [f"1 input, {reason}" for reason in reasons])
    assert f"listed in {tmp_path}/out/parts-dead_letters-*.csv" in done.stdout
    assert json.loads((tmp_path / "out/parts-data.json").read_text()) == {
        "source": f"{folder}/**",
        "seen": 27,
        "used": 23,
        "left_out": {reason: {"files": 1} for reason in reasons},
    }

    rows = {row["path"]: row for row in read_all(tmp_path / "out", "parts-scores")}
    paths = sorted(rows)
    assert len(paths) == 23 and f'{folder}/a, "b".tiff' in paths
    # Pillow and TensorFlow decode a JPEG to nearly the same pixels.
    twins = [float(rows[f"{folder}/turned{e}"]["score"]) for e in (".jpg", "\nthough.webp")]
    assert twins[0] == pytest.approx(twins[1], rel=1e-2)
    pixels, damaged = load_images(paths, model.image_shape)
    assert not damaged.any()
    wanted = model.predict(pixels, verbose=0)
    found = [float(rows[path]["score"]) for path in paths]
    np.testing.assert_allclose(found, wanted["score"], rtol=1e-4, atol=1e-4)
    assert [int(rows[path]["label"]) for path in paths] == wanted["label"].tolist()
    (threshold,) = {row["threshold"] for row in rows.values()}
    assert float(threshold) == pytest.approx(model.threshold)

    dead = {row["path"]: row["reason"] for row in read_all(tmp_path / "out", "parts-dead_letters")}
    names = ("cut.png", "empty.png", "fractions.tiff", "text.png")
    assert dead == {f"{folder}/{name}": reason for name, reason in zip(names, reasons, strict=True)}

    # In other processes, which must import the transforms.
    flags = (f"--model={exported}", f"--input={folder}/**", f"--output={tmp_path}/out/two")
    many = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    again = run(run_command, *flags, *many)
    assert counts(again) == counts(done)
    rows_again = {row["path"]: row for row in read_all(tmp_path / "out", "two-scores")}
    np.testing.assert_allclose([float(rows_again[p]["score"]) for p in paths], found, rtol=1e-5)


def make_example(content, name="image/encoded"):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    return tf.train.Example(features=tf.train.Features(feature={name: feature})).SerializeToString()


def test_records_and_what_is_wrong_with_them(model, exported, folder, tmp_path, run_command):
    contents = [path.read_bytes() for path in sorted(folder.glob("good/*"))]
    records = [make_example(content) for content in contents]
    wrong = [b"no example", make_example(contents[0], "other"), make_example(b"no image")]
    for name, written in (("a.tfrecord", records[:10] + wrong), ("b.tfrecord.gz", records)):
        with tf.io.TFRecordWriter(str(tmp_path / name), "GZIP" * name.endswith("gz")) as writer:
            for record in written:
                writer.write(record)
    whole = (tmp_path / "a.tfrecord").read_bytes()
    (tmp_path / "cut.tfrecord").write_bytes(whole[: len(records[0]) + 16 + 40])

    done = run(
        run_command,
        f"--model={exported}",
        f"--input={tmp_path}/*.tfrecord",
        f"--input={tmp_path}/b.*",
        "--feature=image/encoded",
        "--format=parquet",
        f"--output={tmp_path}/out",
    )
    reasons = ("DataLossError", "DecodeError", "InputError", "not an image, judging by its content")
    assert counts(done) == (31, 35, [f"1 input, {reason}" for reason in reasons])

    import pyarrow.parquet

    def read(name):
        tables = [pyarrow.parquet.read_table(p) for p in tmp_path.glob(f"out-{name}-*.parquet")]
        return {row["path"]: row for table in tables for row in table.to_pylist()}

    scores, dead = read("scores"), read("dead_letters")
    expected = [f"{tmp_path}/a.tfrecord#{i}" for i in range(10)]
    expected += [f"{tmp_path}/b.tfrecord.gz#{i}" for i in range(20)]
    assert set(scores) == {*expected, f"{tmp_path}/cut.tfrecord#0"}
    pixels, _ = load_images(sorted(folder.glob("good/*")), model.image_shape)
    wanted = model.predict(pixels, verbose=0)["score"]
    found = [scores[path]["score"] for path in expected[10:]]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    reasons = {path.removeprefix(f"{tmp_path}/"): row["reason"] for path, row in dead.items()}
    for path, reason in (
        ("a.tfrecord#10", "DecodeError: "),
        ("a.tfrecord#11", "InputError: The feature image/encoded must hold one encoded image"),
        ("a.tfrecord#12", "not an image, judging by its content"),
        ("cut.tfrecord", "DataLossError: truncated record"),
    ):
        assert re.match(reason, reasons.pop(path)), path
    assert not reasons


def test_a_file_name_that_is_not_utf8(exported, folder, tmp_path, run_command):
    os.link(folder / "good/0.png", os.fsencode(tmp_path) + b"/\xff.png")
    flags = (f"--model={exported}", f"--input={tmp_path}/*.png", f"--output={tmp_path}/out")
    assert counts(run(run_command, *flags))[0] == 1
    (row,) = read_all(tmp_path, "out-scores")
    assert row["path"] == f"{tmp_path}/\\xff.png"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"input": "nothing/*.png"}, "No file matches --input. Received: nothing/*.png"),
        ({"model": "tests"}, "must be a version that ede_keras.export wrote"),
        ({"input": "{folder}"}, "Expected a pattern, such as"),
        ({"output": "{folder}/good"}, "The output files exist already"),
        ({"output": "{folder}/new/"}, "--output must be a prefix of file names"),
        ({"batch_size": "none"}, "flag --batch_size=none"),
        ({"": "b.png"}, "with file patterns in quotes. Received: 1 more arguments, the first"),
    ],
)
def test_refusals(exported, folder, tmp_path, run_command, flags, message):
    (folder / "good-scores-0").touch()
    arguments = {"model": exported, "input": f"{folder}/*.png", "output": f"{tmp_path}/o", **flags}
    loose = arguments.pop("", None)
    arguments = [f"--{name}={value}".format(folder=folder) for name, value in arguments.items()]
    done = run(run_command, *arguments, *filter(None, [loose]), check=False)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert not list(tmp_path.glob("o-*"))


def test_a_name_without_a_folder(exported, folder, run_python, run_command):
    flags = (f"--model={exported}", "--input=*.jpg", "--output=out")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run_python("-m", "ede_keras.beam", *flags, cwd=folder, env=env)
    assert counts(done)[0] == 1
    again = run_command("-m", "ede_keras.beam", *flags, cwd=folder, check=False)
    assert "The output files exist already" in again.stderr
    # An output whose prefix is a prefix of the other one is a different output.
    run_command("-m", "ede_keras.beam", *flags[:2], "--output=ou", cwd=folder)


def test_the_files_of_a_pattern_are_spread_over_workers(folder):
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.testing.util import assert_that

    from ede_keras.beam import ReadImages

    def several(processes):
        assert len(set(processes)) == 2

    many = PipelineOptions(direct_running_mode="multi_processing", direct_num_workers=2)
    with beam.Pipeline(options=many) as p:
        contents, _ = p | beam.Create([f"{folder}/**"]) | ReadImages()
        assert_that(contents | beam.Map(lambda _: os.getpid()), several)


def test_a_failed_batch_becomes_dead_letters(exported, monkeypatch):
    from apache_beam.testing.util import assert_that, equal_to

    from ede_keras.beam import ScoreImages, transforms

    def fail(*_):
        raise MemoryError("too large")

    monkeypatch.setattr(transforms.SavedModelHandler, "run_inference", fail)
    png = tf.io.encode_png(np.zeros((8, 8, 1), np.uint8)).numpy()
    with beam.Pipeline() as p:
        scores, dead_letters = p | beam.Create([("a", png), ("b", png)]) | ScoreImages(exported)
        assert_that(scores, equal_to([]))
        wanted = [(name, "MemoryError: too large") for name in "ab"]
        assert_that(dead_letters | beam.Map(tuple), equal_to(wanted), label="dead letters")


def test_the_docs_page(exported, folder, tmp_path, run_command, monkeypatch, capfd):
    """Runs the commands and the pipeline of docs/pages/beam.md as they are."""
    page = (ROOT / "docs/pages/beam.md").read_text()
    folder.rename(tmp_path / "new_images")
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(make_example((tmp_path / "new_images/good/0.png").read_bytes()))
    first, second = blocks(page, "sh")
    for command in (first.strip(), second.strip()):
        command = command.replace("path/to/records", str(tmp_path)).replace(
            "scored/", f"{tmp_path}/"
        )
        command = command.replace("path/to", str(tmp_path)).replace("serving/ede/1", str(exported))
        _, *arguments = shlex.split(command)
        run_command(*arguments)
    assert len(read_all(tmp_path, "new_images-scores")) == 7
    assert len(list(tmp_path.glob("records-scores-*.parquet"))) == 1

    (tmp_path / "path").mkdir()
    (tmp_path / "path/to").symlink_to(tmp_path)
    (tmp_path / "serving").symlink_to(exported.parent.parent)
    monkeypatch.chdir(tmp_path)
    (script,) = blocks(page, "python")
    exec(script, {})
    wrong = [row for row in read_all(tmp_path, "new_images-scores") if row["label"] == "1"]
    shown = capfd.readouterr().out
    assert 0 < len(wrong) < 7 and shown.count("Score(path=") == len(wrong)


def test_without_beam_one_line_says_what_to_install(tmp_path, run_python):
    (tmp_path / "apache_beam.py").write_text("raise ImportError('hidden')")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = run_python("-m", "ede_keras.beam", check=False, env=env)
    assert done.returncode == 1
    assert "pip install 'ede-keras[beam]'" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
