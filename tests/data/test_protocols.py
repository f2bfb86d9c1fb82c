import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import write_cifar_binary, write_coil, write_folder, write_image, write_npz

from ede_keras.data.dataset import Dataset
from ede_keras.data.datasets import load_dataset
from ede_keras.data.labels import cifar100_fine_labels
from ede_keras.data.protocols import make_split, whole_set
from ede_keras.errors import InputError


def numbered(y_train, y_test, protocol="split80"):
    """Makes a dataset whose image i has the value i, to show which images a split takes."""
    y = np.concatenate([y_train, y_test]).astype(np.int64)
    x = np.arange(len(y), dtype=np.float32).reshape(-1, 1, 1, 1)
    n = len(y_train)
    names = {label: f"class {label}" for label in np.unique(y).tolist()}
    return Dataset("numbered", x[:n], y[:n], x[n:], y[n:], names, "memory", protocol)


def positions(images):
    return images.reshape(-1).astype(int).tolist()


labels = st.lists(st.integers(0, 3), min_size=0, max_size=120)


def usable(y, least):
    return sum(label == 0 for label in y) >= least


@given(labels, labels, st.integers(0, 2**31))
@settings(max_examples=150, deadline=None)
def test_split80_properties(y_train, y_test, seed):
    y = np.array(y_train + y_test, int)
    n_normal = int(np.sum(y == 0))
    if n_normal < 3:  # 80% of fewer images are fewer than 2
        return
    split = make_split(numbered(y_train, y_test), "split80", 0, seed)
    train, val, test = map(positions, (split.x_train, split.x_val, split.x_test))
    assert len(train) + len(val) == int(n_normal * 0.8 + 1e-9)
    assert all(y[train + val] == 0)
    assert len({*train, *val, *test}) == len(train) + len(val) + len(test)
    assert {*train, *val} | {i for i in test if y[i] == 0} == set(np.flatnonzero(y == 0).tolist())
    assert split.y_test.tolist() == (y[test] != 0).astype(int).tolist()
    n_held_out = n_normal - len(train) - len(val)
    assert np.sum(split.y_test == 1) == min(n_held_out, len(y) - n_normal)
    assert split.test_ids.tolist() == test


@given(labels, labels, st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_official_properties(y_train, y_test, seed):
    if not usable(y_train, 2) or not y_test:
        return
    split = make_split(numbered(y_train, y_test), "official", 0, seed)
    normals = np.flatnonzero(np.array(y_train) == 0).tolist()
    assert sorted(positions(split.x_train) + positions(split.x_val)) == normals
    whole = list(range(len(y_train), len(y_train) + len(y_test)))
    assert positions(split.x_test) == whole
    assert split.y_test.tolist() == [int(label != 0) for label in y_test]
    assert split.test_ids.tolist() == list(range(len(y_test)))


@given(st.integers(2, 1000), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_validation_size(n, seed):
    split = make_split(numbered([0] * n, [0, 1]), "official", 0, seed)
    fifth = 4 if 8 <= n < 20 else n // 2 if n < 8 else n // 5
    assert len(split.x_val) == (fifth if n < 160 else 32 if n < 320 else n // 10) >= 1
    assert len(split.x_train) == n - len(split.x_val) >= 1


def fields(split):
    return [np.asarray(value).tolist() for value in vars(split).values()]


@pytest.mark.parametrize("protocol", ["split80", "official"])
def test_seed_repeats_and_varies(protocol):
    dataset = numbered([0, 1, 2] * 100, [0, 1, 2] * 10)
    first, again, other = (make_split(dataset, protocol, 0, seed) for seed in (1, 1, 2))
    assert fields(first) == fields(again)
    assert positions(first.x_val) != positions(other.x_val)


def test_split_does_not_depend_on_the_validation_rule(monkeypatch):
    from ede_keras.data import protocols

    dataset = numbered([0, 1, 2] * 100, [])
    before = make_split(dataset, "split80", 0)
    monkeypatch.setattr(protocols, "_hold_out", lambda dataset, train, *_: (train[3:], train[:3]))
    after = make_split(dataset, "split80", 0)
    assert before.test_ids.tolist() == after.test_ids.tolist()
    assert len(after.x_val) == 3


def test_first_draws_of_seed_0_are_pinned():
    split = make_split(numbered([0, 1] * 10, []), "split80", 0)
    normals = np.random.default_rng([0, 0]).permutation(np.arange(0, 20, 2))
    anomalies = np.random.default_rng([0, 1]).choice(np.arange(1, 20, 2), 2, replace=False)
    assert split.test_ids.tolist() == sorted([*normals[8:], *anomalies])


def test_no_anomalies_is_no_error():
    split = make_split(numbered([0] * 20, []), normal=0)
    assert split.y_test.tolist() == [0] * 4
    assert split.y_test.dtype == np.int32


def test_bytes_stay_bytes(tmp_path):
    split = make_split(load_dataset(str(write_npz(tmp_path / "a.npz"))), normal=1)
    assert {x.dtype.name for x in (split.x_train, split.x_val, split.x_test)} == {"uint8"}
    assert (split.normal, split.normal_name) == (1, "1")


def test_cifar100_siblings(tmp_path):
    write_cifar_binary(tmp_path, "cifar100", n_per_class=4)
    cifar100 = load_dataset("cifar100", str(tmp_path))
    split = make_split(cifar100, normal="boy")
    family = cifar100_fine_labels(14)
    tested = cifar100.y_test[split.test_ids]
    assert np.unique(tested).tolist() == family
    assert len(tested) == 5 * 2
    np.testing.assert_array_equal(split.x_test, cifar100.x_test[split.test_ids])
    np.testing.assert_array_equal(split.y_test, tested != 11)
    assert len(split.x_train) + len(split.x_val) == 4
    assert split.normal_name == "boy"


def test_coil30_draws_an_object_that_is_there(tmp_path):
    write_coil(tmp_path, objects=(4, 9, 30, 77))
    coil = load_dataset("coil100", str(tmp_path))
    splits = [make_split(coil, seed=seed) for seed in range(30)]
    assert {split.normal for split in splits} == {4, 9, 30, 77}
    assert [split.normal for split in splits] == [
        make_split(coil, seed=seed).normal for seed in range(30)
    ]
    chosen = make_split(coil, normal="obj9", seed=3)
    assert chosen.normal == 9
    assert len(chosen.x_train) + len(chosen.x_val) == 3
    assert chosen.y_test.sum() == 1


@pytest.mark.parametrize("layout", ["mvtec", "ganomaly", "bare_split"])
def test_folder_with_a_test_part(tmp_path, layout):
    dataset = load_dataset(str(write_folder(tmp_path, layout, n=3)))
    split = make_split(dataset)
    assert split.normal == "good"
    assert split.normal_name == dataset.class_names[0]
    assert len(split.x_train) + len(split.x_val) == 3
    assert split.test_ids.tolist() == dataset.paths_test.tolist()
    is_good = [path.split("/")[1] in ("good", "0.normal") for path in split.test_ids]
    assert split.y_test.tolist() == [int(not good) for good in is_good]
    with pytest.raises(InputError, match="leave `normal` out"):
        make_split(dataset, normal=1)


def test_plain_folder_is_tested_on_its_own_fifth(tmp_path):
    split = make_split(load_dataset(str(write_folder(tmp_path, "plain", n=10))), normal="good")
    assert split.y_test.tolist() == [0, 0]
    assert split.normal == "good"
    assert all(path.endswith(".png") for path in split.test_ids)


def test_folder_pooled_ids_are_the_files_of_the_images(tmp_path):
    for i in range(20):
        image = np.full((32, 32, 1), i, np.uint8)
        part = "train/good" if i < 10 else "test/good" if i < 15 else "test/bad"
        write_image(tmp_path / part / f"{i:02d}.png", image)
    split = make_split(load_dataset(str(tmp_path)), "split80")
    assert [int(path[-6:-4]) for path in split.test_ids] == split.x_test[:, 0, 0, 0].tolist()
    assert split.y_test.tolist() == [int("bad" in path) for path in split.test_ids]


def test_class_folders_need_a_normal_class(tmp_path):
    dataset = load_dataset(str(write_folder(tmp_path, "classes", n=5)))
    with pytest.raises(InputError, match="0 apple, 1 pear, 2 plum. Received: None"):
        make_split(dataset)
    split = make_split(dataset, normal="Pear")
    assert (split.normal, split.normal_name) == (1, "pear")
    assert [path.startswith("pear/") for path in split.test_ids] == (split.y_test == 0).tolist()


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("protocol", ["split80", "official"])
def test_too_few_normals(n, protocol):
    dataset = numbered([0] * n + [1] * 9, [0, 1])
    message = "'class 0' of numbered must have at least 2 images to train on.*Received: "
    with pytest.raises(InputError, match=message):
        make_split(dataset, protocol, 0)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("official", "split80 for numbered .it has no test part.*Received: 'official'"),
        ("coil30", "one of split80 for numbered"),
        ("cifar100_siblings", "one of split80 for numbered"),
        ("split", "Received: 'split'"),
    ],
)
def test_protocol_that_does_not_fit(protocol, message):
    with pytest.raises(InputError, match=message):
        make_split(numbered([0, 1] * 9, []), protocol, 0)


def test_npz_named_like_a_built_in_set_has_no_protocol_of_its_own(tmp_path):
    dataset = load_dataset(str(write_npz(tmp_path / "cifar100.npz")))
    with pytest.raises(InputError, match="one of split80, official for cifar100"):
        make_split(dataset, "cifar100_siblings", 0)


def test_negative_seed():
    with pytest.raises(InputError, match="seed must not be negative. Received: -1"):
        make_split(numbered([0] * 9, []), normal=0, seed=-1)


def test_whole_set_of_arrays_is_the_test_part():
    x = np.zeros((4, 2, 2, 1), np.uint8)
    dataset = Dataset(
        "set",
        x,
        np.array([0, 0, 1, 1]),
        x[:3],
        np.array([0, 1, 2]),
        {0: "cat", 1: "dog", 2: "fox"},
        "made",
        "official",
    )
    images, truth, ids = whole_set(dataset, 7, "Dog")
    assert len(images) == 3
    assert ids.tolist() == [0, 1, 2]
    assert truth.tolist() == [1, 0, 1]


def test_whole_set_does_not_compare_numbers_of_named_classes(tmp_path):
    """Class 2 of Fashion-MNIST, a pullover, is not the digit 2, but can be class 2 of an `.npz`."""
    assert whole_set(load_dataset("digits"), 2, "pullover")[1] is None
    unnamed = load_dataset(str(write_npz(tmp_path / "a.npz")))
    assert whole_set(unnamed, 2, "pullover")[1].tolist() == [1, 1, 0, 1, 1, 0]
    assert whole_set(unnamed, 9, "ankle-boot")[1] is None


@pytest.mark.parametrize("gone", [("y_test",), ("x_train", "y_train", "y_test")])
def test_whole_set_without_labels(tmp_path, gone):
    path = write_npz(tmp_path / "a.npz", **dict.fromkeys(gone))
    dataset = load_dataset(str(path), need_labels=False)
    images, truth, ids = whole_set(dataset, 1, "1")
    assert len(images) == len(ids) == 6
    assert truth is None


def test_whole_set_of_folders(tmp_path):
    write_folder(tmp_path / "mvtec", "mvtec", n=3)
    dataset = load_dataset(str(tmp_path / "mvtec"))
    images, truth, ids = whole_set(dataset, 2, "2")
    assert len(images) == len(truth) == len(ids) == len(dataset.x_test)
    assert [("good" not in path) == bool(label) for path, label in zip(ids, truth, strict=True)]
    assert {bool(label) for path, label in zip(ids, truth, strict=True) if "good" in path} == {
        False
    }
    write_folder(tmp_path / "plain", "plain", n=3)
    _, truth, ids = whole_set(load_dataset(str(tmp_path / "plain")), "good", "good")
    assert truth is None
    assert ids.dtype.kind == "U"
    write_folder(tmp_path / "classes", "classes", n=3)
    dataset = load_dataset(str(tmp_path / "classes"))
    first = dataset.class_names[0]
    assert whole_set(dataset, 1, first)[1].tolist() == (dataset.y_train != 0).astype(int).tolist()
    assert whole_set(dataset, 0, "elsewhere")[1] is None
