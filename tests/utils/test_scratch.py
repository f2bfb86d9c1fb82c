import gc
import os
from pathlib import Path

import numpy as np
import pytest
from makers import write_image

from ede_keras.data.datasets import load_dataset
from ede_keras.data.protocols import make_split
from ede_keras.utils import scratch
from ede_keras.utils.pipeline import make_ordered_dataset, make_train_dataset

ROWS = np.arange(24, dtype=np.int16).reshape(4, 3, 2)


def test_rows_are_one_array_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = scratch.store(iter(ROWS), (3, 2), np.int16)
    assert isinstance(found, np.memmap)
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    np.testing.assert_array_equal(found, ROWS)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1
    assert not list(tmp_path.iterdir())  # the file has no name, so nothing is left behind
    del found
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_a_turned_row_is_stored_as_it_looks():
    found = scratch.store([row.T for row in ROWS], (2, 3), np.int16)
    np.testing.assert_array_equal(found, ROWS.swapaxes(1, 2))


def test_no_rows():
    assert scratch.store([], (3, 2), np.uint8).shape == (0, 3, 2)


def test_a_full_disk_is_an_error(monkeypatch):
    with open("/dev/full", "w+b", buffering=0) as full:
        monkeypatch.setattr("tempfile.TemporaryFile", lambda: full)
        with pytest.raises(OSError, match="No space left"):
            scratch.store(ROWS, (3, 2), np.int16)


def test_images_on_disk_are_images(build, images):
    """Training and scores do not depend on whether the images are in memory or on disk."""
    on_disk = scratch.store(images, images.shape[1:], images.dtype)
    for a, b in zip(make_ordered_dataset(on_disk, 32), np.split(images, [32, 64]), strict=True):
        np.testing.assert_array_equal(a, b)
    chosen = np.array([3, 1, 60])
    assert np.array_equal(next(iter(make_ordered_dataset(on_disk, 3, chosen))), images[chosen])
    (one, steps), (other, _) = (make_train_dataset(x, 16, seed=1) for x in (images, on_disk))
    for a, b in zip(one.take(steps), other.take(steps), strict=True):
        np.testing.assert_array_equal(a, b)
    model = build(pretext="rotations", memory_size=30)
    terms = model.calibrate(images[:40], held_out=images[40:])
    found = model.predict(images, verbose=0), model.threshold
    for name, term in model.calibrate(on_disk[:40], held_out=on_disk[40:]).items():
        np.testing.assert_array_equal(term, terms[name])
    again = model.predict(on_disk, verbose=0), model.threshold
    assert found[1] == again[1]
    for name in found[0]:
        np.testing.assert_array_equal(found[0][name], again[0][name])


def test_a_folder_is_on_disk(tmp_path):
    for i, pixel in enumerate(range(10, 90, 2)):
        write_image(tmp_path / f"{i:02}.png", np.full((8, 8, 1), pixel, np.uint8))
    split = make_split(load_dataset(str(tmp_path)), normal="good")
    parts = split.x_train, split.x_val, split.x_test
    assert all(isinstance(part, np.memmap) for part in parts)
    assert sorted(np.concatenate(parts)[:, 0, 0, 0]) == list(range(10, 90, 2))
    shown = [int(path[:2]) * 2 + 10 for path in split.test_ids]
    np.testing.assert_array_equal(split.x_test[:, 0, 0, 0], shown)


# Prints the peak memory in MiB, without that of mapped files, which the system can reclaim.
WATCHED = """
import sys, threading, time
import numpy as np
import ede_keras

used = [0]

def watch():
    while True:
        lines = open("/proc/self/status").read().split("\\n")
        used.append(*[int(line.split()[1]) for line in lines if "RssAnon" in line])
        time.sleep(0.02)

threading.Thread(target=watch, daemon=True).start()
SHAPE = (128, 128, 3)
model = ede_keras.EDE.from_recipe(
    "default", SHAPE, image_size=16, base_width=2, latent_dim=4, memory_size=64
)
{work}
print(max(used) / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images_scored(run_command, tmp_path):
    """The larger file has 5,000 more images, 246 MB."""
    work = """
images = np.memmap(sys.argv[1], np.uint8, "r", shape=(int(sys.argv[2]), *SHAPE))
scores, _ = model.combine_terms(model.compute_terms(images, 16))
assert len(scores) == len(images)
"""
    (tmp_path / "images").write_bytes(b"")
    os.truncate(tmp_path / "images", 7_000 * 128 * 128 * 3)
    script = WATCHED.format(work=work)
    used = [
        float(run_command("-c", script, tmp_path / "images", n).stdout.split()[-1])
        for n in (2_000, 7_000)
    ]
    assert used[1] - used[0] < 100


@pytest.mark.slow
def test_memory_does_not_grow_with_a_folder(run_command, tmp_path):
    """Trains, calibrates and scores. The larger folder has 2,200 more images, 108 MB."""
    rng = np.random.default_rng(0)
    kinds = [
        write_image(tmp_path / f"{i}.jpg", rng.integers(0, 256, (128, 128, 3), dtype=np.uint8))
        for i in range(10)
    ]
    work = """
from ede_keras.data.datasets import load_dataset
from ede_keras.utils.pipeline import make_ordered_dataset, make_train_dataset
from ede_keras.data.protocols import make_split

split = make_split(load_dataset(sys.argv[1], image_shape=SHAPE), normal="good")
dataset, steps = make_train_dataset(split.x_train, 16, seed=0)
held_out = make_ordered_dataset(split.x_val, 16)
model.fit(dataset, steps_per_epoch=steps, validation_data=held_out, verbose=0)
model.calibrate(split.x_train, held_out=split.x_val)
scores, _ = model.combine_terms(model.compute_terms(split.x_test, 16))
assert len(scores) == len(split.x_test)
"""
    script = WATCHED.format(work=work)
    used = []
    for n in (3400, 5600):  # both hold out enough to fill the largest batches, of 256
        folder = tmp_path / f"parts{n}"
        folder.mkdir()
        for i in range(n):
            os.link(kinds[i % 10], folder / f"{i}.jpg")
        done = run_command("-c", script, folder)
        used.append(float(done.stdout.split()[-1]))
    assert used[1] - used[0] < 50
