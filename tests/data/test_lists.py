"""A list of images in place of a folder."""

import json

import numpy as np
import pytest
from commands import LIGHT, SMALL
from makers import make_images, write_image

from ede_keras.data.datasets import load_dataset
from ede_keras.data.lists import read_list
from ede_keras.data.protocols import make_split, whole_set
from ede_keras.errors import InputError


def write_list(path, *rows):
    path.write_text("\n".join(rows) + "\n", encoding="utf-8-sig")  # as spreadsheets write it
    return path


def test_a_list_with_parts_and_masks(tmp_path):
    path = write_list(
        tmp_path / "list.csv",
        "path,label,split,mask",
        "a/ünï 1.png,OK,train,",
        "a/2.png,OK,test,",
        f"{tmp_path}/b/3.png,dent,test,masks/3.png",
        "b/4.png,dent,Train,",
    )
    layout = read_list(path)
    assert layout.train == {"a/ünï 1.png": 0, "b/4.png": 1}
    assert layout.test == {"a/2.png": 0, f"{tmp_path}/b/3.png": 1}
    assert layout.class_names == {0: "OK", 1: "dent"}
    assert layout.masks == {f"{tmp_path}/b/3.png": ("masks/3.png",)}
    assert layout.default_protocol == "official"
    assert read_list(path, "DENT").class_names == {0: "dent", 1: "OK"}


def test_a_list_without_parts_has_classes(tmp_path):
    path = write_list(tmp_path / "l.csv", "label,path", "pear,1.png", "apple,2.png")
    layout = read_list(path)
    assert (layout.train, layout.test) == ({"1.png": 1, "2.png": 0}, {})
    assert layout.default_protocol == "split80"


def test_labels_0_and_1(tmp_path):
    path = write_list(tmp_path / "l.csv", "path,label,split", "1.png,0,train", "2.png,1,test")
    assert read_list(path).test == {"2.png": 1}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), "columns path,label.*Received: an empty file"),
        (("file,label", "a.png,ok"), "columns path,label.*Received: file,label"),
        (("path,label",), "at least one image"),
        (("path,label", "a.png,"), "Line 2 of .*Received: no label"),
        (("path,label", "a.png,ok", "b.png,ok,bad"), "Line 3 of .*Received: more values"),
        (("path,label,split", "a.png,ok,dev"), "split must be train or test. Received: dev"),
        (("path,label", "a.png,ok", "a.png,bad"), "only once in .*Received: a.png again in line 3"),
        (("x" * 200_000,), "Line 0 of .* must be CSV. Received: field larger"),
        (("path,label", "a.png," + "x" * 200_000), "Line 1 of .* must be CSV"),
        (("path,label,split", "a.png,x,train"), "one of its labels, x: name it with --normal"),
        (("path,label,split", "a.png,ok,train", "b.png,good,test"), "labels, good, ok"),
    ],
)
def test_what_is_wrong_with_a_list(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read_list(write_list(tmp_path / "list.csv", *rows))


def test_a_list_is_loaded_as_a_folder_is(tmp_path):
    images = make_images([1, 1, 1, 1, 5], (32, 32, 1))
    for i, image in enumerate(images):
        write_image(tmp_path / f"{i}.png", image)
    rows = [f"{i}.png,{'bad' if i == 4 else 'ok'},{'test' if i > 2 else 'train'}" for i in range(5)]
    path = write_list(tmp_path / "list.csv", "path,label,split", *rows, "gone.png,bad,test")
    with pytest.warns(UserWarning, match="Left out of .*list.csv: 1 file, .*: gone.png"):
        dataset = load_dataset(str(path))
    split = make_split(dataset)
    assert list(split.test_ids) == ["3.png", "4.png"] and list(split.y_test) == [0, 1]
    np.testing.assert_array_equal(split.x_test[1], images[4])
    assert dataset.summary.n_seen == 6 and dataset.name == "list"


@pytest.mark.slow
def test_a_run_on_a_list(run_command, tmp_path):
    for i, image in enumerate(make_images([1] * 9 + [5] * 3, (32, 32, 1))):
        write_image(tmp_path / f"{i}.png", image)
    rows = [
        f"{i}.png,{'bad' if i > 8 else 'fine'},{'test' if i > 5 else 'train'}" for i in range(12)
    ]
    path = write_list(tmp_path / "list.csv", "path,label,split", *rows)
    flags = (f"--dataset={path}", f"--output_dir={tmp_path / 'runs'}", *SMALL, *LIGHT)
    done = run_command("train.py", *flags, check=False)
    assert done.returncode == 1 and "name it with --normal" in done.stderr
    run_command("train.py", *flags, "--normal=fine")
    run = tmp_path / "runs/list/good/0"
    assert json.loads((run / "metrics.json").read_text())["n_anomalous"] == 3
    run_command("evaluate.py", f"--run_dir={run}")
    assert (run / "evaluation.csv").read_bytes() == (run / "scores.csv").read_bytes()


def test_masks_and_labels_without_parts(tmp_path):
    """0 is normal; the masks are those of the images that the protocol takes for testing."""
    images = make_images([1] * 10 + [5] * 3, (32, 32, 1))
    rows = []
    for i, image in enumerate(images):
        write_image(tmp_path / f"{i}.png", image)
        mask = f"masks/{i}.png" if i > 10 else ""
        if mask:
            write_image(tmp_path / mask, (image > 200) * np.uint8(255))
        rows.append(f"{i}.png,{int(i > 9)},{mask}")
    path = write_list(tmp_path / "list.csv", "path,label,mask", *rows)
    dataset = load_dataset(str(path))
    said = "\n".join(dataset.summary.lines())
    assert "label 0 is taken as normal, 1 as anomalous" in said and "  2 masks" in said
    assert "1 anomalous images have no mask, so their pixels are not measured: 10.png" in said
    split = make_split(dataset)
    assert split.y_test.sum() == 2 and len(split.x_train) + len(split.x_val) == 8
    drawn, known = split.masks.select(split.test_ids, split.y_test)
    tested = {*split.test_ids} & {"11.png", "12.png"}
    assert tested and known.sum() == 2 + len(tested) and drawn.any((1, 2)).sum() == len(tested)
    # The user's word counts: here 1 is normal.
    other = load_dataset(str(path), normal="1")
    assert make_split(other, normal="1").y_test.sum() == 1
    assert other.summary.to_dict()["masks"]["missing"] is None


def test_a_list_of_anomalies_alone_is_no_list_of_normals(tmp_path):
    for i, image in enumerate(make_images([1] * 4, (32, 32, 1))):
        write_image(tmp_path / f"{i}.png", image)
    path = write_list(tmp_path / "l.csv", "path,label", *(f"{i}.png,1" for i in range(4)))
    dataset = load_dataset(str(path))
    assert whole_set(dataset, "good", "good")[1].tolist() == [1] * 4
    with pytest.raises(InputError, match="at least 2 images to train on.*Received: 0"):
        make_split(dataset)


def test_masks_of_training_images_are_not_dropped_in_silence(tmp_path):
    path = write_list(
        tmp_path / "l.csv", "path,label,split,mask", "1.png,ok,train,m.png", "2.png,ok,test,"
    )
    layout = read_list(path)
    assert layout.notes == ("1 masks of training images are not used: 1.png",)
    assert layout.masks == {}
