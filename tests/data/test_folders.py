import numpy as np
import pytest
from makers import write_folder, write_image

from ede_keras.data.datasets import load_dataset
from ede_keras.data.folders import find_layout
from ede_keras.errors import InputError


def touch(folder, *names):
    """Creates empty files, which are enough: a layout depends only on the names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_mvtec(tmp_path):
    layout = find_layout(write_folder(tmp_path, "mvtec", n=2))
    assert layout.train == {"train/good/000.png": 0, "train/good/001.png": 0}
    assert layout.test == {
        "test/crack/000.png": 1,
        "test/crack/001.png": 1,
        "test/good/000.png": 0,
        "test/good/001.png": 0,
        "test/hole/000.png": 2,
        "test/hole/001.png": 2,
    }
    assert layout.class_names == {0: "good", 1: "crack", 2: "hole"}
    assert layout.default_protocol == "official"


def test_ganomaly(tmp_path):
    layout = find_layout(write_folder(tmp_path, "ganomaly", n=1))
    assert layout.class_names == {0: "0.normal", 1: "1.abnormal"}
    assert layout.test == {"test/0.normal/000.png": 0, "test/1.abnormal/000.png": 1}


def test_images_directly_in_train(tmp_path):
    layout = find_layout(write_folder(tmp_path, "bare_split", n=1))
    assert layout.train == {"train/000.png": 0}
    assert layout.test == {"test/bad/000.png": 1, "test/good/000.png": 0}
    assert layout.class_names == {0: "good", 1: "bad"}


def test_normal_class_of_any_name(tmp_path):
    touch(tmp_path, "train/bottle/a.png", "test/bottle/b.png", "test/can/c.png", "test/OK/d.png")
    layout = find_layout(tmp_path)
    assert layout.class_names == {0: "bottle", 1: "can"}
    assert layout.test == {"test/OK/d.png": 0, "test/bottle/b.png": 0, "test/can/c.png": 1}


@pytest.mark.parametrize("normal", [None, "good", "fine"])
def test_flat_train_beside_good_and_bad(tmp_path, normal):
    touch(tmp_path, "train/a.png", "test/good/b.png", "test/bad/c.png")
    layout = find_layout(tmp_path, normal=normal)
    assert layout.test == {"test/bad/c.png": 1, "test/good/b.png": 0}
    assert layout.class_names == {0: normal or "good", 1: "bad"}


def test_good_is_normal_if_the_user_says_so(tmp_path):
    touch(tmp_path, "train/bottle/a.png", "test/good/b.png", "test/bottle/c.png", "test/ok/d.png")
    layout = find_layout(tmp_path, normal="good")
    assert layout.class_names == {0: "bottle", 1: "ok"}
    assert layout.test == {"test/bottle/c.png": 0, "test/good/b.png": 0, "test/ok/d.png": 1}


def test_anomalies_in_train_keep_their_label(tmp_path):
    touch(tmp_path, "train/Good/a.png", "train/bad/b.png", "test/bad/c.png", "test/dent/d.png")
    layout = find_layout(tmp_path)
    assert layout.class_names == {0: "Good", 1: "bad", 2: "dent"}
    assert layout.train == {"train/Good/a.png": 0, "train/bad/b.png": 1}


@pytest.mark.parametrize("below", ["more", "bad"])
def test_images_beside_subfolders_are_normal_only_by_the_users_word(tmp_path, below):
    touch(tmp_path, "a.png", f"{below}/b.JPG", "notes.txt")
    with pytest.raises(InputError, match=f"--layout=normals.*Received: a.png beside {below}/"):
        find_layout(tmp_path)
    layout = find_layout(tmp_path, "normals")
    assert layout.train == {"a.png": 0, f"{below}/b.JPG": 0}
    assert layout.test == {}
    assert layout.class_names == {0: "good"}
    assert layout.default_protocol == "split80"
    assert layout.left_out == {"notes.txt": "not an image of a supported format (.txt)"}


def test_one_subfolder_is_all_normal_by_the_users_word(tmp_path):
    touch(tmp_path, "bolts/x/a.png", "bolts/y/b.png", ".cache/c.png")
    layout = find_layout(tmp_path, "normals")
    assert layout.train == {"bolts/x/a.png": 0, "bolts/y/b.png": 0}
    assert layout.class_names == {0: "bolts"}
    assert layout.notes == ("2 images in nested subfolders belong to their class",)


@pytest.mark.parametrize(
    "names",
    [
        ("good/a.png", "good/bad/b.png"),
        ("good/a.png", "good/scratch/b.png"),
        ("good/ok/a.png", "good/NG_2/b.png"),
        ("apple/a.png", "pear/b.png", "pear/defective/c.png"),
        ("apple/x/a.png", "pear/masks/b.png"),
        ("train/good/a.png", "train/good/rejects/b.png", "test/bad/c.png"),
        ("train/good/a.png", "test/bad/c.png", "test/good/d.png", "test/good/fail/e.png"),
    ],
)
def test_what_lies_below_a_class_is_not_taken_for_it(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(InputError, match="unclear what its subfolder holds"):
        find_layout(tmp_path)


def test_class_folders(tmp_path):
    touch(tmp_path, "pear/b.png", "apple/z/a.png", "apple/x/c.png", "empty/readme.txt")
    layout = find_layout(tmp_path)
    assert layout.class_names == {0: "apple", 1: "pear"}
    assert layout.train == {"apple/x/c.png": 0, "apple/z/a.png": 0, "pear/b.png": 1}
    assert layout.test == {}
    assert layout.default_protocol == "split80"


def test_class_named_train(tmp_path):
    layout = find_layout(touch(tmp_path, "train/a.png", "plane/b.png"))
    assert layout.class_names == {0: "plane", 1: "train"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"must hold images \(.png .*.jpg .jpeg .*.bmp .*.tif .*.webp .*\).*Received: none"),
        (["a.txt", ".hidden.png"], "must hold images"),
        (["train/x.txt", "test/good/a.png"], "train must hold normal .*Received: no images"),
        (["train/a/a.png", "train/b/b.png", "test/a/c.png"], r"Received: \['a', 'b'\]"),
        (["train/good/a.png", "train/ok/b.png", "test/a/c.png"], r"Received: \['good', 'ok'\]"),
        (["train/a.png", "train/good/b.png", "test/a/c.png"], "'images directly in it', 'good'"),
        (["train/a.png", "test/b.png", "test/good/c.png"], "in subfolders.*Received: test/b.png"),
    ],
)
def test_unclear_layouts(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        find_layout(touch(tmp_path, *names))


def test_split_with_an_empty_test_part(tmp_path):
    touch(tmp_path, "train/good/a.png", "test/readme.txt")
    layout = find_layout(tmp_path)
    assert layout.test == {}
    assert layout.class_names == {0: "good"}


def test_order_does_not_depend_on_the_file_system(tmp_path):
    names = [f"{name}.png" for name in "cab"]
    touch(tmp_path, *names)
    assert list(find_layout(tmp_path).train) == sorted(names)


def test_folder(tmp_path):
    dataset = load_dataset(str(write_folder(tmp_path / "bolts", "mvtec", n=2, size=20)))
    assert dataset.name == "bolts"
    assert dataset.is_folder
    assert dataset.has_fixed_normal
    assert dataset.x_train.shape == (2, 32, 32, 3)
    assert dataset.x_train.dtype == np.uint8
    assert dataset.x_test.shape == (6, 32, 32, 3)
    assert dataset.y_test.tolist() == [1, 1, 0, 0, 2, 2]
    assert dataset.paths_train.tolist() == ["train/good/000.png", "train/good/001.png"]
    assert len(dataset.paths_test) == 6


@pytest.mark.parametrize("size", [8, 32, 50])
def test_folder_of_grey_images_stays_grey(tmp_path, size):
    write_folder(tmp_path, "plain", n=3, size=size, channels=1)
    dataset = load_dataset(str(tmp_path))
    assert dataset.x_train.shape == (3, 32, 32, 1)
    assert dataset.x_test.shape == (0, 32, 32, 1)
    write_image(tmp_path / "colour.png", np.full((4, 4, 3), (9, 99, 199), np.uint8))
    assert load_dataset(str(tmp_path)).x_train.shape == (4, 32, 32, 3)


def test_folder_in_the_shape_of_a_model(tmp_path):
    write_folder(tmp_path, "classes", n=1)
    assert load_dataset(str(tmp_path), image_shape=(40, 48, 1)).x_train.shape == (3, 40, 48, 1)


def test_a_damaged_image_is_left_out_or_refused(tmp_path):
    folder = write_folder(tmp_path, "mvtec", n=2)
    (folder / "test/hole/001.png").write_bytes(b"oops")
    reason = "not an image, judging by its content"
    with pytest.raises(InputError, match=f"1 file, {reason}: test/hole/001.png"):
        load_dataset(str(folder), strict=True)
    with pytest.warns(UserWarning, match=f"Left out of .*: 1 file, {reason}: test/hole/001.png"):
        dataset = load_dataset(str(folder))
    assert dataset.summary.left_out == {"test/hole/001.png": reason}
    assert len(dataset.x_test) == len(dataset.y_test) == len(dataset.paths_test) == 5
    assert "test/hole/001.png" not in dataset.paths_test
    for path in folder.rglob("*.png"):
        path.write_bytes(b"oops")
    with pytest.raises(InputError, match=f"8 files, {reason}"):
        load_dataset(str(folder))


def test_a_layout_by_name(tmp_path):
    write_folder(tmp_path, "mvtec", n=1)
    assert find_layout(tmp_path).name == "split"
    classes = find_layout(tmp_path, "classes")
    assert classes.class_names == {0: "ground_truth", 1: "test", 2: "train"}
    normals = find_layout(tmp_path / "test", "normals")
    assert normals.class_names == {0: "good"}
    assert len(normals.train) == 3
    assert set(normals.train.values()) == {0}
    with pytest.raises(InputError, match="must have train/ and test/"):
        find_layout(tmp_path / "test", "split")
    touch(tmp_path, "a.png")
    with pytest.raises(InputError, match="for layout 'classes'.*Received: a.png"):
        find_layout(tmp_path, "classes")
    assert load_dataset(str(tmp_path / "test"), layout="normals").layout == "normals"


@pytest.mark.parametrize("wrapper", ["fruits", "archive/fruits"])
def test_folders_around_the_set_are_passed_through(tmp_path, wrapper):
    for layout, name in (("mvtec", "split"), ("classes", "classes")):
        folder = write_folder(tmp_path / layout / wrapper, layout, n=1)
        touch(tmp_path / layout, "readme.txt")
        inside, around = find_layout(folder), find_layout(tmp_path / layout)
        assert around.name == name and around.class_names == inside.class_names
        assert around.test == {f"{wrapper}/{file}": n for file, n in inside.test.items()}
        assert around.train == {f"{wrapper}/{file}": n for file, n in inside.train.items()}
        assert around.left_out == {"readme.txt": "not an image of a supported format (.txt)"}
        note = f"all images are in {wrapper}/, which is read as the folder of the data set"
        assert any(line.startswith(note) for line in around.notes)
        assert not any(line.startswith(note) for line in inside.notes)
    drawn = load_dataset(str(tmp_path / "mvtec")).masks.drawn
    assert list(drawn) == [f"{wrapper}/test/hole/000.png"]


def test_a_set_around_one_class(tmp_path):
    """With a name of normals it is one; without, it is read as before."""
    touch(tmp_path / "a", "parts/good/1.png", "parts/good/2.png")
    assert find_layout(tmp_path / "a").class_names == {0: "good"}
    touch(tmp_path / "b", "parts/1.png")
    assert find_layout(tmp_path / "b").class_names == {0: "parts"}
    touch(tmp_path / "c", "good/monday/1.png", "good/tuesday/1.png")
    assert find_layout(tmp_path / "c").class_names == {0: "good"}
    touch(tmp_path / "d", "archive/monday/1.png", "archive/tuesday/1.png")
    assert find_layout(tmp_path / "d").class_names == {0: "monday", 1: "tuesday"}
    assert find_layout(tmp_path / "d", "normals").class_names == {0: "archive"}
    assert find_layout(tmp_path / "d", normal="Archive").class_names == {0: "archive"}
